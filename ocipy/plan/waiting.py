"""The wait for start, at the FIFOs that the host makes; and what run and exec have in its place."""

from __future__ import annotations

from ocipy.plan.model import HostStep, InitStep
from ocipy.plan.rare import HOOKS, INTEL_RDT, NAMESPACE_CONTENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner


class Fifo(HostStep):
    """Make exec.fifo, at which init waits, and exec.report, by which start learns how the exec went."""

    words = "where init will wait for start"


class ReportPipe(HostStep):
    """Make the pipe by which the process reports its exec."""

    words = "tells the runtime whether the exec succeeds"


class Creating(HostStep):
    """Declare that the container is being created, until its process executes."""

    words = "the container is being created, until its process executes"


class Created(HostStep):
    """Declare the container created."""

    words = "the container is created"


class WaitForStart(InitStep):
    """Let create return, and block until start writes a byte. watch: exit if the FIFO is removed."""

    watch: bool
    words = "until start writes to the FIFO"
    tells = "waiting"


class LetGo(InitStep):
    """Detach from the runtime."""

    words = "the runtime continues, and learns from the pipe whether the exec succeeds"
    tells = "waiting"


class GoOn(InitStep):
    """Continue as soon as the host permits it. filtered: the filter is in force already."""

    filtered: bool
    words = "no start is needed"
    awaits = "start"
    tells = "waiting"


class TellExecuting(InitStep):
    """Announce that execve comes next."""

    words = "start learns that the exec comes next"


class Executed(HostStep):
    """Wait until the process executes its command."""

    words = "waits until the exec succeeds"


class Running(HostStep):
    """Declare that the container is running."""

    words = "the container is running"


def starts_at_once(planner: Planner) -> bool:
    """Whether init continues to its exec without waiting for start: in `run`, unless something happens between the end
    of create and start: a hook sees the container, somebody learns its pid or listens, the host has steps to take."""
    options = planner.options
    return (
        options.starts
        and not (options.pid_file or options.pidfd_socket or options.notify_socket)
        and not any(concern in planner.rare for concern in (HOOKS, INTEL_RDT, NAMESPACE_CONTENTS))
        and bool(planner.config.get("process"))
    )

"""The wait for start, at the FIFOs that the host makes."""

from __future__ import annotations

from ocipy.plan.model import HostStep, InitStep


class Fifo(HostStep):
    """Make exec.fifo, at which init waits, and exec.report, by which start learns how the exec went."""

    words = "where init will wait for start"


class Created(HostStep):
    """Declare the container created."""

    words = "the container is created"


class WaitForStart(InitStep):
    """Let create return, and block until start writes a byte. watch: exit if the FIFO is removed."""

    watch: bool
    words = "until start writes to the FIFO"
    tells = "waiting"


class TellExecuting(InitStep):
    """Announce that execve comes next."""

    words = "start learns that the exec comes next"

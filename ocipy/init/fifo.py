"""What goes through the two FIFOs of a created container: init waits at exec.fifo, and start learns from exec.report
how the exec went."""

from __future__ import annotations

import posix

from ocipy.linux import _kernel
from ocipy.linux.constants import PR_SET_PDEATHSIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# What init writes to exec.report: AWAKE once start has written to exec.fifo, EXECUTING right before execve. The
# descriptor is close-on-exec, so end of file after EXECUTING means that the exec succeeded. An error comes as JSON
# instead.
AWAKE = b"\0"
EXECUTING = b"\1"
# What init adds if it has a seccomp filter, which may kill it before it can report an error.
FILTERED = b"\3"
# The name of the init process until its exec.
INIT_NAME = "ocipy:[INIT]"
# What delete writes to exec.fifo if it knows no process, because the state is missing or unreadable.
DISMISSED = b"\2"


def leave_runtime(init: Init) -> None:
    """Tell the runtime that everything is done, and detach from it: its exit no longer kills us."""
    tell_waiting(init)
    close_channel(init)


def tell_waiting(init: Init) -> None:
    """Tell the runtime that everything is done. From now on its exit does not kill us."""
    _kernel.prctl(PR_SET_PDEATHSIG, 0)
    init.channel.send("waiting")


def close_channel(init: Init) -> None:
    """Close the socket to the runtime."""
    posix.close(init.channel.fd)
    init.channel.fd = -1

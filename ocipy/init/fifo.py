"""The FIFO at which a created container waits, and by which start learns how the exec went."""

from __future__ import annotations

import posix

from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_WRONLY, PR_SET_PDEATHSIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# What init writes: AWAKE once start has opened the FIFO, EXECUTING as the last thing before execve. The descriptor is
# close-on-exec, so the end of file after EXECUTING says that the exec has happened; an error comes as JSON instead.
AWAKE = b"\0"
EXECUTING = b"\1"


def wait_for_start(init: Init) -> None:
    """Tell create that all is done, let go of it, and block until start opens the other end."""
    path = f"self/fd/{init.fds['fifo']}"
    # From here on the runtime may end without taking us along.
    _kernel.prctl(PR_SET_PDEATHSIG, 0)
    init.channel.send("waiting")
    posix.close(init.channel.fd)
    init.channel.fd = -1
    # fifo(7): blocks until there is a reader. Opened anew from the O_PATH descriptor, by our own procfs.
    init.started = posix.open(path, O_WRONLY | O_CLOEXEC, dir_fd=init.proc)
    posix.write(init.started, AWAKE)


def tell_executing(init: Init) -> None:
    """The next thing is execve."""
    posix.write(init.started, EXECUTING)


ACTIONS = {"wait_for_start": wait_for_start, "tell_executing": tell_executing}

"""The two FIFOs of a created container: at exec.fifo its init waits, by exec.report start learns how the exec went.

Both were opened by the host, for reading and writing: init needs no path and no procfs to wait, and holds nothing else.
"""

from __future__ import annotations

import posix

from ocipy.linux import _kernel
from ocipy.linux.constants import PR_SET_PDEATHSIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# What init writes into exec.report: AWAKE once start has written to exec.fifo, EXECUTING as the last thing before
# execve. The descriptor is close-on-exec, so the end of file after EXECUTING says that the exec has happened; an error
# comes as JSON instead.
AWAKE = b"\0"
EXECUTING = b"\1"


def leave_runtime(init: Init) -> None:
    """Tell the runtime that all is done, and be no longer its own: it may end without taking us along."""
    _kernel.prctl(PR_SET_PDEATHSIG, 0)
    init.channel.send("waiting")
    posix.close(init.channel.fd)
    init.channel.fd = -1


def wait_for_start(init: Init) -> None:
    """Let go of create, and block until start writes a byte."""
    leave_runtime(init)
    fifo = init.fds.pop("fifo")
    posix.read(fifo, 1)
    posix.close(fifo)
    init.started = init.fds.pop("report")
    posix.write(init.started, AWAKE)


def tell_executing(init: Init) -> None:
    """The next thing is execve."""
    posix.write(init.started, EXECUTING)


ACTIONS = {"wait_for_start": wait_for_start, "tell_executing": tell_executing}

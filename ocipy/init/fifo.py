"""The two FIFOs of a created container: at exec.fifo its init waits, by exec.report start learns how the exec went.

Both were opened by the host, for reading and writing: init needs no path and no procfs to wait, and holds nothing else.
"""

from __future__ import annotations

import posix

from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN, PR_SET_PDEATHSIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# What init writes into exec.report: AWAKE once start has written to exec.fifo, EXECUTING as the last thing before
# execve. The descriptor is close-on-exec, so the end of file after EXECUTING says that the exec has happened; an error
# comes as JSON instead.
AWAKE = b"\0"
EXECUTING = b"\1"
# What delete writes into exec.fifo where it knows of no process.
DISMISSED = b"\2"
WATCH_INTERVAL_MS = 10_000


def leave_runtime(init: Init) -> None:
    """Tell the runtime that all is done, and be no longer its own: it may end without taking us along."""
    _tell_waiting(init)
    _close_channel(init)


def _tell_waiting(init: Init) -> None:
    _kernel.prctl(PR_SET_PDEATHSIG, 0)
    init.channel.send("waiting")


def _close_channel(init: Init) -> None:
    posix.close(init.channel.fd)
    init.channel.fd = -1


def wait_for_start(init: Init, *, watch: bool) -> None:
    """Let go of create, and block until start writes a byte. Any other byte, and the end of create before it has made
    the container a created one, are the end.

    watch: end also once somebody has removed the FIFO, with which nobody could start or delete us any more. Not under a
    filter that is in force already: it need not permit more than read(2).
    """
    _tell_waiting(init)
    if not posix.read(init.channel.fd, 64):
        posix._exit(1)
    _close_channel(init)
    fifo = init.fds.pop("fifo")
    if watch:
        _watch(fifo)
    if posix.read(fifo, 1) != AWAKE:
        posix._exit(1)
    posix.close(fifo)
    init.report_fd = init.fds.pop("report")
    posix.write(init.report_fd, AWAKE)


def _watch(fifo: int) -> None:
    """Wait until something has been written to the FIFO, or end when it has been removed."""
    try:
        while not _kernel.poll([(fifo, POLLIN)], WATCH_INTERVAL_MS):
            if posix.fstat(fifo).st_nlink == 0:
                posix._exit(1)
    except OSError:
        pass  # the read waits as well


def tell_executing(init: Init) -> None:
    """The next thing is execve."""
    posix.write(init.report_fd, EXECUTING)


ACTIONS = {"wait_for_start": wait_for_start, "tell_executing": tell_executing}

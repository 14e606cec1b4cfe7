"""The two FIFOs of a created container: init waits at exec.fifo, and start learns by exec.report how the exec went.

The host opened both for reading and writing: to wait, init needs no path and no procfs, and holds nothing else.
"""

from __future__ import annotations

import posix

from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN, PR_SET_PDEATHSIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# What init writes into exec.report: AWAKE once start has written to exec.fifo, EXECUTING right before execve. The
# descriptor is close-on-exec, so end of file after EXECUTING means that the exec succeeded. An error comes as JSON
# instead.
AWAKE = b"\0"
EXECUTING = b"\1"
# What delete writes into exec.fifo if it knows no process.
DISMISSED = b"\2"
WATCH_INTERVAL_MS = 10_000


def leave_runtime(init: Init) -> None:
    """Tell the runtime that everything is done, and detach from it: its exit no longer ends us."""
    _tell_waiting(init)
    _close_channel(init)


def _tell_waiting(init: Init) -> None:
    _kernel.prctl(PR_SET_PDEATHSIG, 0)
    init.channel.send("waiting")


def _close_channel(init: Init) -> None:
    posix.close(init.channel.fd)
    init.channel.fd = -1


def wait_for_start(init: Init, *, watch: bool) -> None:
    """Let create return, and block until start writes a byte. Exit on any other byte, and if create ends before it
    has recorded the container as created.

    watch: exit also when the FIFO is removed, since then nobody could start or delete the container any longer. Not
    possible under a filter that is already loaded: it need not permit more than read(2).
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
    """Wait until something is written to the FIFO; exit if it is removed."""
    try:
        while not _kernel.poll([(fifo, POLLIN)], WATCH_INTERVAL_MS):
            if posix.fstat(fifo).st_nlink == 0:
                posix._exit(1)
    except OSError:
        pass  # the read waits too


def tell_executing(init: Init) -> None:
    """Announce that execve comes next."""
    posix.write(init.report_fd, EXECUTING)


ACTIONS = {"wait_for_start": wait_for_start, "tell_executing": tell_executing}

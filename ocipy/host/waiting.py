"""The FIFOs at which init waits for start, from the host's side."""

from __future__ import annotations

import posix

from ocipy.host.context import carries_out
from ocipy.host.lane import channel_of
from ocipy.linux.channel import Closed
from ocipy.linux.constants import O_CLOEXEC, O_NOFOLLOW, O_RDWR
from ocipy.plan.waiting import Created, Fifo
from ocipy.state.state import FIFO, FIFO_NEW, REPORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(Fifo)
def fifo(run: HostRun, step: Fifo) -> None:
    """Make the FIFO at which init waits, and the one by which start learns how the exec went (init/fifo.py).

    Open them here, since init might lack the permission, and for both reading and writing: such a descriptor neither
    blocks nor sees end of file (fifo(7)).
    """
    run.fds.fifo = _make(run.state.directory + "/" + FIFO_NEW)
    run.fds.report = _make(run.state.directory + "/" + REPORT)


def _make(path: str) -> int:
    posix.mkfifo(path, 0o600)
    return posix.open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC)


@carries_out(Created)
def created(run: HostRun, step: Created) -> None:
    """Mark the container as created by renaming its FIFO, and close our copies of what init inherited."""
    posix.rename(run.state.directory + "/" + FIFO_NEW, run.state.directory + "/" + FIFO)
    try:
        channel_of(run).send("created")
    except Closed:
        pass  # init has just been killed, which can happen at any time from now on
    run.let_go()

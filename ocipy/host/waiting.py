"""The FIFOs at which init waits for start, and the pipe by which it reports its exec, from the host's side."""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.host.context import carries_out
from ocipy.host.lane import channel_of
from ocipy.host.report import raise_failure, read_to_end, warn_about_filter
from ocipy.init.fifo import EXECUTING
from ocipy.linux.channel import Closed
from ocipy.linux.constants import O_CLOEXEC, O_NOFOLLOW, O_RDWR
from ocipy.linux.files import unlink
from ocipy.plan.waiting import Created, Creating, Executed, Fifo, ReportPipe, Running
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


@carries_out(ReportPipe)
def report_pipe(run: HostRun, step: ReportPipe) -> None:
    """Make the pipe through which the process reports its exec, or why it failed."""
    run.report, run.fds.report = posix.pipe2(O_CLOEXEC)


@carries_out(Creating)
def creating(run: HostRun, step: Creating) -> None:
    """Mark the container as being created. Nobody waits at this FIFO."""
    posix.mkfifo(run.state.directory + "/" + FIFO_NEW, 0o600)


@carries_out(Executed)
def executed(run: HostRun, step: Executed) -> None:
    """Wait until the process has executed its command. Raises the Error that it reports if it cannot."""
    run.let_go()
    said = read_to_end(run.report, run.name, run.pid, run.pidfd, run.interrupts)
    raise_failure(said)
    if EXECUTING not in said:
        raise Error(
            f"{run.name} exited before it could execute its command",
            hint="it was killed, or ran out of memory: linux.resources.memory.limit",
        )
    warn_about_filter(said, run.options.container_id, run.name, run.pid)


@carries_out(Running)
def running(run: HostRun, step: Running) -> None:
    """Remove what marks the container as being created: State.status has not counted it since the exec."""
    unlink(run.state.directory + "/" + FIFO_NEW)
    posix.close(run.report)
    run.report = -1
    run.status = "running"

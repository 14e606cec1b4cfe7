"""--pid-file and --pidfd-socket: the pid in a file; a pidfd for a listener, which can then wait for the process and
signal it."""

from __future__ import annotations

import posix

from ocipy.errors import Error, reported_as
from ocipy.host.console import send_descriptor
from ocipy.host.context import carries_out
from ocipy.linux.constants import S_IFLNK, S_IFMT, S_IFREG
from ocipy.linux.files import write_file
from ocipy.plan.pid_file import PidFile, SendPidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(SendPidfd)
def send_pidfd(run: HostRun, step: SendPidfd) -> None:
    """Send the pidfd in one message, like a terminal's master. name: runc's word for this kind of process."""
    send_descriptor(step.path, run.pidfd, step.name, "the pidfd to the pidfd socket")


def check_pid_file(path: str) -> None:
    """Check that a pid file does not replace a device, pipe or directory. Raises Error."""
    try:
        kind = posix.lstat(path).st_mode & S_IFMT
    except OSError:  # it does not exist, or writing it will fail
        return
    if kind not in (S_IFREG, S_IFLNK):
        raise Error("the pid file is not a regular file", pointer=path, hint="writing the pid file would replace it")


@carries_out(PidFile)
def pid_file(run: HostRun, step: PidFile) -> None:
    """Write the pid, without a newline: containerd parses the whole content as a number."""
    with reported_as("cannot write the pid file", pointer=step.path):
        write_file(step.path, str(run.pid).encode(), 0o644)

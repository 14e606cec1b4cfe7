"""A process that Container.spawn has executed."""

from __future__ import annotations

import os
import signal as signals
from typing import Self

from ocipy.container.state import read_file
from ocipy.errors import Error
from ocipy.library.ended import exit_status, has_ended
from ocipy.library.records import TimeoutExpired


class Process:
    """A further process in a container. Holds a pidfd: used by with, or ended by close. The process lives on without.

    pid: as the host sees it.
    """

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self._status: int | None = None
        self.pid = _pid_of(pidfd)

    def __repr__(self) -> str:
        return f"Process({self.pid})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The pidfd: readable once it has ended (pidfd_open(2))."""
        if self._pidfd < 0:
            raise ValueError("the process is closed")
        return self._pidfd

    def close(self) -> None:
        """Let go of it."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def kill(self, signal: int = signals.SIGTERM) -> None:
        """Send it a signal. Raises Error if it has ended."""
        try:
            signals.pidfd_send_signal(self.fileno(), signal)
        except OSError as error:
            raise Error(f"cannot send signal {int(signal)} to process {self.pid}", errno=error.errno or 0) from None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended, at most so many seconds: the exit status, 128 + the signal that ended it.

        None where that cannot be known, as with Container.wait. If it is the caller's to reap (the caller is a
        subreaper, or pid 1) this does it. Raises TimeoutExpired; nothing is killed then.
        """
        if not has_ended(self.fileno(), timeout):
            raise TimeoutExpired(["process", str(self.pid)], timeout or 0.0)
        if self._status is None:
            self._status = exit_status(self._pidfd, reap=True)
        return self._status


def _pid_of(pidfd: int) -> int:
    """pidfd_open(2): the line Pid of its fdinfo, -1 once it was reaped."""
    for line in read_file(f"/proc/self/fdinfo/{pidfd}").splitlines():
        if line.startswith(b"Pid:"):
            return int(line.split()[1])
    return -1

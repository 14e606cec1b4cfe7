"""A process that Container.spawn has executed."""

from __future__ import annotations

import os
import signal as signals
import subprocess
from typing import Self

from ocipy.errors import reported_as
from ocipy.library.records import TimeoutExpired
from ocipy.linux.files import read_file
from ocipy.linux.text import value_of


class Process:
    """Another process in a container. Holds a pidfd: use it in a with statement, or close it. That does not end the
    process.

    pid: as the host sees it. runtime: the executable that is its parent and ends with it.
    """

    def __init__(self, pidfd: int, runtime: subprocess.Popen[bytes]) -> None:
        self._pidfd = pidfd
        self._runtime = runtime
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
        """Close the pidfd. wait still works."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def kill(self, signal: int = signals.SIGTERM) -> None:
        """Send it a signal. Raises Error if it has ended."""
        with reported_as(f"cannot send signal {int(signal)} to process {self.pid}"):
            signals.pidfd_send_signal(self.fileno(), signal)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Returns the exit status, 128 + the signal that killed it.

        timeout: in seconds. Raises TimeoutExpired, and kills nothing.
        """
        try:
            status = self._runtime.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutExpired(["process", str(self.pid)], timeout or 0.0) from None
        return status if status >= 0 else 128 - status


def _pid_of(pidfd: int) -> int:
    """The pid from the line Pid of its fdinfo, -1 once it has been reaped (pidfd_open(2))."""
    return int(value_of(read_file(f"/proc/self/fdinfo/{pidfd}"), b"Pid") or -1)

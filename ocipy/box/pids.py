"""Finds our processes by pid.

A pidfd is opened before the command line is read, so the pid cannot go to another process in the meantime
(pidfd_open(2)).
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path

PATIENCE = 5.0  # seconds until a process that has been killed, or has nothing left to serve, is gone


def open_called(pid: int, is_it: Callable[[list[bytes]], bool]) -> int | None:
    """A pidfd of the process if the words of its command line (proc_pid_cmdline(5)) are the expected ones."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        if is_it(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def open_noted(pid_path: Path, is_it: Callable[[list[bytes]], bool]) -> int | None:
    """The same for the pid in a file; None if there is no such file."""
    try:
        pid = int(pid_path.read_bytes())
    except (OSError, ValueError):
        return None
    return open_called(pid, is_it)


def wait_for_end(pidfd: int, patience: float = PATIENCE) -> bool:
    """Wait up to `patience` seconds until the process has ended. Return whether it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(patience * 1000))

"""How a process has ended, as far as a process other than its parent can know."""

from __future__ import annotations

import fcntl
import os
import select
import struct

from ocipy.linux.files import read_file
from ocipy.linux.text import stat_fields
from ocipy.state.state import UNSEEN, is_same_process

# linux/pidfd.h: the exit status of a reaped process, for the holders of a pidfd (Linux 6.15).
PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3
INFO = struct.Struct("=QQ11Ii")
# An orphan's parent is the host's init, or a subreaper that may be busy.
REAP_PATIENCE = 5.0  # seconds


def open_process(pid: int, start_time: int, pidfd_inode: int) -> int:
    """A pidfd of the process with this pid and start time, a zombie included; -1 if there is none.

    Opened before the start time is compared, so that the pid cannot be reused in between. pidfd_inode: State's, used if
    /proc hides the process.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return -1
    try:
        if _is_the_one(pid, pidfd, start_time, pidfd_inode):
            return pidfd
    except (OSError, ValueError, IndexError):
        pass
    os.close(pidfd)
    return -1


def _is_the_one(pid: int, pidfd: int, start_time: int, pidfd_inode: int) -> bool:
    """Raises OSError, ValueError or IndexError if it is gone."""
    try:
        stat = read_file(f"/proc/{pid}/stat")
    except (FileNotFoundError, PermissionError):
        return is_same_process(pidfd, pidfd_inode)
    if start_time == UNSEEN:
        return is_same_process(pidfd, pidfd_inode)
    return int(stat_fields(stat)[19]) == start_time


def has_ended(pidfd: int, timeout: float | None) -> bool:
    """Whether it ends within this many seconds; None: wait forever."""
    return bool(_poll(pidfd, timeout))


def exit_status(pidfd: int) -> int | None:
    """The exit status of a process that has ended, 128 + the signal that killed it; None if it is unknown.

    It is known for a child of the caller, which remains for the caller to reap; since Linux 6.15 also for any other
    process that its parent has reaped.
    """
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return _remembered(pidfd)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


def _remembered(pidfd: int) -> int | None:
    """The wait status of a reaped process from the kernel."""
    try:
        status = _asked(pidfd)
        # If the kernel keeps the status, poll(2) reports POLLHUP once the process is reaped (pidfd_open(2)).
        if status is None and _poll(pidfd, REAP_PATIENCE, until=select.POLLHUP):
            status = _asked(pidfd)
    except OSError:  # an older kernel
        return None
    if status is None:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _asked(pidfd: int) -> int | None:
    """The wait status, None before the process is reaped. Raises OSError."""
    info = bytearray(INFO.pack(PIDFD_INFO_EXIT, *[0] * 13))
    fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    told, *_, status = INFO.unpack(info)
    return status if told & PIDFD_INFO_EXIT else None


def _poll(pidfd: int, timeout: float | None, until: int = select.POLLIN) -> int:
    poll = select.poll()
    # poll reports POLLHUP whether asked for it or not.
    poll.register(pidfd, until & select.POLLIN)
    for _, events in poll.poll(None if timeout is None else max(0, round(timeout * 1000))):
        return events & until
    return 0

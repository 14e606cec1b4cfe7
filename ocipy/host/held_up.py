"""A process on its way into a container that somebody inside stops (SIGSTOP, ptrace). Cold.

Whoever shares its pid namespace, and has the rights, can stop it before it has come to its command, and each one that
follows. Nothing would tell the runtime, which waits for a word of it.
"""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import SIGCONT, WNOHANG
from ocipy.linux.files import read_file

# Glances in a row at which it was stopped: 5 s (report.GLANCE_MS). A debugger of ours stops it for moments only.
MOST = 50


def glance(name: str, pid: int, pidfd: int, stopped: int) -> int:
    """Look at a process that has said nothing for a while, and continue it where it is stopped (signal(7)).

    stopped: what the last glance has returned, 0 at first. name: what it is called in errors. Raises Error for one that
    is always found stopped.
    """
    if pid <= 0 or not _is_stopped(pid):
        return 0
    if stopped >= MOST:
        raise Error(
            f"{name} is stopped each time that it is continued",
            hint="by a process of the container, or of another that shares its pid namespace: SIGSTOP, or ptrace",
        )
    try:
        _kernel.pidfd_send_signal(pidfd, SIGCONT)
    except OSError:
        pass  # it has ended, which is seen by the next poll; or it is not ours to continue
    return stopped + 1


def _is_stopped(pid: int) -> bool:
    """By its state (proc_pid_stat(5)), or the kernel's word to its parent where procfs does not show it (hidepid)."""
    try:
        stat = read_file(f"/proc/{pid}/stat")
        return stat[stat.rindex(b")") + 2 :][:1] in (b"T", b"t")
    except OSError:
        pass
    try:
        # Not taken: it stays true for as long as the process is stopped (waitid(2)).
        return posix.waitid(posix.P_PID, pid, posix.WSTOPPED | WNOHANG | posix.WNOWAIT) is not None
    except ChildProcessError:
        return False

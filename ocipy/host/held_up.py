"""A process that enters a container, and that a process inside stops (SIGSTOP, ptrace). Cold.

Privileged processes in its pid namespace can stop it before it reaches its command, again and again. The runtime,
which waits for its message, would never learn of it.
"""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import SIGCONT, WNOHANG
from ocipy.linux.files import read_file

# How many glances in a row may find it stopped: 5 s (report.GLANCE_MS). Our debugger only stops it briefly.
MOST = 50


def glance(name: str, pid: int, pidfd: int, stopped: int) -> int:
    """Look at a process that has been silent for a while, and continue it if it is stopped (signal(7)).

    stopped: the result of the last glance, 0 at first. name: what errors call it. Raises Error if it is stopped every
    time.
    """
    if pid <= 0 or not _is_stopped(pid):
        return 0
    if stopped >= MOST:
        raise Error(
            f"{name} is stopped again each time it is continued",
            hint="a process of the container, or of another one in its pid namespace, uses SIGSTOP or ptrace",
        )
    try:
        _kernel.pidfd_send_signal(pidfd, SIGCONT)
    except OSError:
        pass  # it has exited, as the next poll shows; or we may not continue it
    return stopped + 1


def _is_stopped(pid: int) -> bool:
    """By its state (proc_pid_stat(5)), or by what the kernel tells its parent if procfs hides it (hidepid)."""
    try:
        stat = read_file(f"/proc/{pid}/stat")
        return stat[stat.rindex(b")") + 2 :][:1] in (b"T", b"t")
    except OSError:
        pass
    try:
        # Not consumed: it stays true as long as the process is stopped (waitid(2)).
        return posix.waitid(posix.P_PID, pid, posix.WSTOPPED | WNOHANG | posix.WNOWAIT) is not None
    except ChildProcessError:
        return False

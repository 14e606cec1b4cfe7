"""Processes that enter a container, and are stopped by another one inside (SIGSTOP, ptrace). Cold.

Privileged processes in the pid namespace can stop such a process again and again before it executes its command. The
runtime would wait for its message forever.
"""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import SIGCONT, SIGKILL, WNOHANG
from ocipy.linux.files import read_file
from ocipy.linux.text import words_of
from ocipy.state.state import is_our_child

# How many glances in a row may find it stopped: 5 s in all (report.GLANCE_MS). A debugger stops it only briefly.
MAX_STOPPED = 50


def glance(name: str, pid: int, pidfd: int, stopped: int, *, is_stage: bool = False) -> int:
    """Look at a process that has been silent for a while, and continue it if it is stopped (signal(7)).

    stopped: what the last glance returned, 0 at first. name: what errors call it. is_stage: it may have forked one of
    our children, which cannot tell us its pid while it is stopped. Raises Error after too many glances that find a
    process stopped.
    """
    if pid <= 0:
        return 0
    successor = _stopped_successor(pid) if is_stage else 0
    if successor:
        pidfd = _kernel.pidfd_open(successor, 0)
        try:
            return _continue(name, pidfd, stopped)
        finally:
            posix.close(pidfd)
    return _continue(name, pidfd, stopped) if _is_stopped(pid) else 0


def end_successor(stage: int) -> None:
    """Kill the child that a stage has forked, if it is stopped. Any other ends when it finds the channel closed."""
    successor = _stopped_successor(stage)
    if successor:
        posix.kill(successor, SIGKILL)  # we have not reaped it, so the pid is still its own


def _stopped_successor(stage: int) -> int:
    """Return the pid of our child, other than the stage, that is stopped; 0 if there is none."""
    return next((child for child in _children() if child != stage and _is_stopped(child)), 0)


def _children() -> list[int]:
    """Return our own children (proc_pid_task(5)); only one that is stopped if the kernel does not list them, or if
    procfs shows another pid namespace, and so other pids."""
    try:
        listed = [int(word) for word in words_of(read_file("/proc/thread-self/children"))]
    except (OSError, ValueError):
        listed = []
    children = [pid for pid in listed if is_our_child(pid)]
    if children:
        return children
    try:
        event = posix.waitid(posix.P_ALL, 0, posix.WSTOPPED | WNOHANG | posix.WNOWAIT)
    except ChildProcessError:
        event = None
    return [event.si_pid] if event is not None else []


def _continue(name: str, pidfd: int, stopped: int) -> int:
    if stopped >= MAX_STOPPED:
        raise Error(
            f"{name} is stopped again each time it is continued",
            hint="another process in the container's pid namespace uses SIGSTOP or ptrace on it",
        )
    try:
        _kernel.pidfd_send_signal(pidfd, SIGCONT)
    except OSError:
        pass  # it has exited, as the next poll will show, or we may not signal it
    return stopped + 1


def _is_stopped(pid: int) -> bool:
    """Whether it is stopped, by its state (proc_pid_stat(5)) or, if procfs hides it (hidepid), by waitid(2)."""
    try:
        stat = read_file(f"/proc/{pid}/stat")
        return stat[stat.rindex(b")") + 2 :][:1] in (b"T", b"t")
    except OSError:
        pass
    try:
        # WNOWAIT leaves the event in place, so it is reported as long as the process is stopped.
        return posix.waitid(posix.P_PID, pid, posix.WSTOPPED | WNOHANG | posix.WNOWAIT) is not None
    except ChildProcessError:
        return False

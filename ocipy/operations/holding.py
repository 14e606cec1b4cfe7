"""Why a killed process does not end. Cold.

The first process of a pid namespace ends only when all others in it have been reaped (pid_namespaces(7)). Processes
that exec brought in are not its children: their parent is the caller of exec, or the process that adopted them.
"""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.linux.files import read_file
from ocipy.linux.text import shown, stat_fields, value_of


def does_not_die(pidfd: int) -> Error:
    """The Error for a killed process that has not ended, with the process that it waits for, if that can be found."""
    pid = _pid_of(pidfd)
    unreaped = [_described(other) for other in _others_in_namespace(pid)]
    if not unreaped:
        return Error(
            f"the container's process {pid} does not die",
            hint="it may hang in the kernel, in a filesystem or a driver",
        )
    more = f", and {len(unreaped) - 1} more" if len(unreaped) > 1 else ""
    return Error(
        f"the container's process {pid} does not die: it waits for {unreaped[0]}{more}",
        hint="a process in a pid namespace ends only when its parent reaps it: the caller of exec must do so, or exit",
    )


def _pid_of(pidfd: int) -> int:
    """The pid from fdinfo (pidfd_open(2)); 0 if it is not there."""
    return max(0, int(value_of(read_file(f"/proc/self/fdinfo/{pidfd}"), b"Pid") or 0))


def _others_in_namespace(pid: int) -> list[int]:
    """The other processes in its pid namespace, if it is the first of one; without those in nested namespaces."""
    own = _namespace(str(pid))
    if not own or own == _namespace("self"):
        return []
    names = [name for name in posix.listdir("/proc") if name.isdigit() and name != str(pid)]
    return sorted(int(name) for name in names if _namespace(name) == own)


def _namespace(name: str) -> str:
    try:
        return posix.readlink(f"/proc/{name}/ns/pid")
    except OSError:
        return ""


def _described(pid: int) -> str:
    """Describes a process, and the parent that has to reap it."""
    name, state, parent = _about(pid)
    parent_name, _, _ = _about(parent)
    if state == "Z":
        return f"process {pid} ({name}, a zombie), which its parent {parent} ({parent_name}) does not reap"
    return f"process {pid} ({name}, in state {state}), whose parent is {parent} ({parent_name})"


def _about(pid: int) -> tuple[str, str, int]:
    """Name, state and parent (proc_pid_stat(5))."""
    try:
        stat = read_file(f"/proc/{pid}/stat")
    except OSError:
        return "?", "?", 0
    fields = stat_fields(stat)
    return shown(stat[stat.index(b"(") + 1 : stat.rindex(b")")]), shown(fields[0]), int(fields[1])

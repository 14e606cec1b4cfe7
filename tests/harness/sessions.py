"""Cgroups of killed test sessions: their names say which session they belong to, and the next session removes them.

A pid alone is not enough, since other processes get it later, or have it in other pid namespaces.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness.cgroups import cgroup_dirs, remove_cgroups
from tests.harness.look import namespace, process_state
from tests.harness.text import lines, read

# ocipy-test-TOKEN.PID.START.NAMESPACE: its pid in its own pid namespace, proc_pid_stat(5)'s start time, that
# namespace's inode.
NAME = re.compile(r"ocipy-test-[et][0-9a-f]+\.(\d+)\.(\d+)\.(\d+)", re.ASCII)
# The kernel's number for the initial namespace (PROC_PID_INIT_INO in linux/proc_ns.h).
INITIAL = "4026531836"
UNKNOWN = "?"


def cgroup_name(token: str, pid: int | str = "self") -> str:
    """The name of the parent of all cgroups of a session. pid: the session's process, as in /proc."""
    return "ocipy-test-" + ".".join([token, *_identity(pid)])


def _identity(pid: int | str) -> tuple[str, str, str]:
    """Pid, start time and pid namespace. Raises FileNotFoundError or ProcessLookupError if the process is gone."""
    inner = next(line for line in lines(read(f"/proc/{pid}/status")) if line.startswith("NSpid:")).split("\t")[1:]
    start = read(f"/proc/{pid}/stat").rpartition(")")[2].split(" ")[20]
    return inner[-1], start, _namespace("self" if len(inner) == 1 else pid)


def _namespace(pid: int | str) -> str:
    """The inode of a process's pid namespace; UNKNOWN if we may not read it."""
    try:
        return namespace(pid, "pid")[len("pid:[") : -1]
    except PermissionError:
        return UNKNOWN


def remove_those_of_dead_sessions() -> list[str]:
    """Remove the cgroups of dead sessions, at the top of each hierarchy or below our own. Returns their names."""
    present = {path.name for path in cgroup_dirs("/ocipy-test-")}  # read these before the processes
    owned = {name: match.groups() for name in present if (match := NAME.fullmatch(name))}
    alive = _living() if owned else set()
    dead = []
    for name, (pid, start, inode) in sorted(owned.items()):
        lives = (pid, start, inode) in alive or (pid, start, UNKNOWN) in alive
        if not lives and _sees_all_of(inode):
            remove_cgroups(name)
            dead.append(name)
    return dead


def _living() -> set[tuple[str, str, str]]:
    """The identities of all living processes."""
    found = set()
    for pid in (entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        try:
            if process_state(int(pid)) not in ("Z", "X", ""):
                found.add(_identity(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended in the meantime
    return found


def _sees_all_of(inode: str) -> bool:
    """Whether our /proc shows all processes of a pid namespace: ours, or one below it."""
    return _namespace("self") in (inode, INITIAL)

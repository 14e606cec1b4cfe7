"""Cgroups of test sessions that were killed: their names tell whose they are, and the next session takes them away.

A pid alone says too little: others have it later, and in other pid namespaces at the same time.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.harness.cgroups import cgroup_tops, remove_cgroups
from tests.harness.look import namespace, process_state
from tests.harness.text import lines, read

# ocipy-test-TOKEN.PID.START.NAMESPACE: its pid in its own pid namespace, proc_pid_stat(5)'s start time, that
# namespace's inode.
NAME = re.compile(r"ocipy-test-[et][0-9a-f]+\.(\d+)\.(\d+)\.(\d+)", re.ASCII)
# What the kernel has for the namespace that all others are below (PROC_PID_INIT_INO in linux/proc_ns.h).
INITIAL = "4026531836"
UNKNOWN = "?"


def cgroup_name(token: str, pid: int | str = "self") -> str:
    """The name of the cgroup that all those of a session are in. pid: the session's process, as /proc has it."""
    return "ocipy-test-" + ".".join([token, *_identity(pid)])


def _identity(pid: int | str) -> tuple[str, str, str]:
    """Pid, start time and pid namespace. Raises FileNotFoundError or ProcessLookupError where the process is gone."""
    inner = next(line for line in lines(read(f"/proc/{pid}/status")) if line.startswith("NSpid:")).split("\t")[1:]
    start = read(f"/proc/{pid}/stat").rpartition(")")[2].split(" ")[20]
    return inner[-1], start, _namespace("self" if len(inner) == 1 else pid)


def _namespace(pid: int | str) -> str:
    """The inode of a process's pid namespace, UNKNOWN where we may not look."""
    try:
        return namespace(pid, "pid")[len("pid:[") : -1]
    except PermissionError:
        return UNKNOWN


def remove_those_of_dead_sessions() -> list[str]:
    """Remove the cgroups at the top of each hierarchy whose session is known to be dead; their names."""
    present = {entry.name for top in cgroup_tops() for entry in os.scandir(top)}  # before the processes are looked at
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
            continue  # it has ended meanwhile
    return found


def _sees_all_of(inode: str) -> bool:
    """Whether our /proc has all processes of a pid namespace: it is our own, or below it."""
    return _namespace("self") in (inode, INITIAL)

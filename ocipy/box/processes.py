"""The processes of a box, as the host sees them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ocipy import Container, Error
from ocipy.box.tools import begin
from ocipy.errors import printable


def pids_of(container: Container) -> list[int]:
    """The pids in its cgroup, or if a user could not make one, those in its process's pid namespace. Raises Error."""
    state = container.state()
    try:
        return list(container.processes())
    except Error:
        own = _pid_namespace(state.pid)
        if own is None:
            raise
        found = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        return sorted(one for one in found if _pid_namespace(one) == own)


def _pid_namespace(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def table(pids: Sequence[int]) -> str:
    """ps(1)'s table. A process chooses its own name and arguments, so they are made printable."""
    words = ["ps", "-o", "pid,user,stat,time,rss,args", "-p", ",".join(map(str, pids))]
    with begin(words, "cannot list the processes", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        output, _ = process.communicate()
    return "\n".join(printable(line) for line in output.decode("utf-8", "replace").rstrip("\n").split("\n"))

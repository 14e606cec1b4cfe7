"""Reads processes, mounts, namespaces and cgroups from outside the container."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tests.harness.host import wait_until
from tests.harness.text import lines, read

CGROUP_ROOT = Path("/sys/fs/cgroup")


class Mount(NamedTuple):
    """A line of /proc/PID/mountinfo: proc_pid_mountinfo(5)."""

    id: int
    parent: int
    root: str
    point: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes of blank, tab, newline, number sign and backslash."""
    for code in ("040", "011", "012", "043", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts of a mountinfo text, in order."""
    mounts = []
    for line in lines(text):
        left, right = line.split(" - ", 1)
        fields = left.split(" ")
        fstype, source, super_options = right.split(" ", 2)
        mounts.append(
            Mount(
                int(fields[0]),
                int(fields[1]),
                _unescape(fields[3]),
                _unescape(fields[4]),
                tuple(fields[5].split(",")),
                tuple(fields[6:]),
                fstype,
                _unescape(source),
                tuple(super_options.split(",")),
            )
        )
    return mounts


def proc_mounts(pid: int | str = "self") -> list[Mount]:
    """The mounts of a process."""
    return parse_mountinfo(read(f"/proc/{pid}/mountinfo"))


def parse_status(text: str) -> dict[str, str]:
    """A /proc/PID/status text as a dictionary."""
    fields = {}
    for line in lines(text):
        name, colon, value = line.partition(":")
        if colon:
            fields[name] = value.strip()
    return fields


def proc_status(pid: int | str) -> dict[str, str]:
    """/proc/PID/status as a dictionary: "CapEff" is hexadecimal text, "Uid" four numbers, and so on."""
    return parse_status(read(f"/proc/{pid}/status"))


def process_state(pid: int) -> str:
    """The letter of proc_pid_stat(5), "Z" for a zombie; "" if there is no such process."""
    try:
        stat = read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split(" ")[1]


def arguments_of(pid: int) -> list[str]:
    """The arguments of a process that has just executed its program.

    execve(2) closes descriptors, which tells the runtime that it has succeeded, before the new arguments are in place.
    In between there are none.
    """
    wait_until(lambda: read(f"/proc/{pid}/cmdline"), "the arguments")
    return read(f"/proc/{pid}/cmdline").split("\0")[:-1]


def namespace(pid: int | str, kind: str) -> str:
    """The namespace of a process as "kind:[inode]"; kinds as in /proc/PID/ns."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def namespaces(pid: int | str = "self") -> dict[str, str]:
    """All namespaces of a process by kind."""
    return {kind: namespace(pid, kind) for kind in sorted(os.listdir(f"/proc/{pid}/ns"))}


def open_files(pid: int | str = "self") -> dict[int, str]:
    """The file descriptors of a process and their targets."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue  # the file descriptor that listed the directory
    return found


def descendants(pid: int | None = None) -> set[int]:
    """All descendants of `pid` (default: this process), zombies included."""
    found: set[int] = set()
    todo = [pid or os.getpid()]
    while todo:
        children = _children(todo.pop()) - found
        found |= children
        todo += children
    return found


def _children(pid: int) -> set[int]:
    """The children of all its threads: proc(5), /proc/PID/task/TID/children."""
    found: set[int] = set()
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return found  # it has ended in the meantime
    for thread in threads:
        directory = f"/proc/{pid}/task/{thread}"
        try:
            with open(f"{directory}/children", "rb") as file:
                found.update(int(child) for child in file.read().split())
        except (FileNotFoundError, ProcessLookupError):
            assert not os.path.exists(directory) or os.path.exists(f"{directory}/children"), "no CONFIG_PROC_CHILDREN"
    return found


def cgroups_of(pid: int | str) -> dict[str, str]:
    """/proc/PID/cgroup: controller list ("" for the unified hierarchy) → path."""
    found = {}
    for line in lines(read(f"/proc/{pid}/cgroup")):
        _, controllers, path = line.split(":", 2)
        found[controllers] = path
    return found


def cgroup_hierarchies() -> dict[str, Path]:
    """The mount point of each hierarchy, by "" for the unified one, "memory", "cpu", "name=systemd", …"""
    found: dict[str, Path] = {}
    for mount in proc_mounts():
        if not Path(mount.point).is_relative_to(CGROUP_ROOT):
            continue
        if mount.fstype == "cgroup2":
            found[""] = Path(mount.point)
        elif mount.fstype == "cgroup":
            for option in mount.super_options:
                if option not in ("rw", "ro", "xattr", "clone_children") and not option.startswith("release_agent="):
                    found[option] = Path(mount.point)
    return found


def cgroup_dir(pid: int, controller: str) -> Path:
    """The process's directory in a controller's hierarchy, or in v2's."""
    hierarchies = cgroup_hierarchies()
    for controllers, path in cgroups_of(pid).items():
        if controller in controllers.split(",") or (controllers == "" and controller not in hierarchies):
            return hierarchies[controller if controller in hierarchies else ""] / path.lstrip("/")
    raise AssertionError(f"{controller} has no hierarchy")


def cgroup_value(pid: int, controller: str, file: str) -> str:
    """A file of a process's cgroup. `controller` is the v1 controller; a unified host has only one cgroup, and `file`
    must be v2's name. Raises FileNotFoundError."""
    hierarchies = cgroup_hierarchies()
    for controllers, path in cgroups_of(pid).items():
        if controllers == "" and controller not in hierarchies:
            return (hierarchies[""] / path.lstrip("/") / file).read_text().strip()
        if controller in controllers.split(","):
            return (hierarchies[controller] / path.lstrip("/") / file).read_text().strip()
    raise FileNotFoundError(f"process {pid} is in no cgroup of {controller}")

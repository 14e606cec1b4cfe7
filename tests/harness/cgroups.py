"""Finds and removes the cgroups of a test session among those of the whole machine, by file descriptors.

Containers make paths longer than the kernel's limit, trees deeper than Python's stack, and names of any bytes.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Container
from pathlib import Path

from tests.harness.look import cgroup_hierarchies, cgroups_of

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# The errors for a directory that was removed in the meantime.
REMOVED = (errno.ENOENT, errno.ENODEV)
# The tokens of this process's sessions. A cgroup with one in its name is ours, with everything below it.
_tokens: set[str] = set()


def claim(token: str) -> None:
    """Declare that cgroups with this in their names belong to this process."""
    _tokens.add(token)


def cgroup_dirs(name: str) -> list[Path]:
    """Our cgroup directories with `name` in their paths, in all hierarchies, parents first."""
    found: list[Path] = []
    for top in cgroup_tops():
        _walk(top, name, lambda path: found.append(path))
    return sorted(found)


def remove_cgroups(name: str, keep: Container[str] = ()) -> list[Path]:
    """Kill the processes in these cgroups, remove all but those named in `keep`, and return those that remain."""
    for _ in range(20):
        for top in cgroup_tops():
            _walk(top, name, lambda path: None, keep, remove=True)
        left = [path for path in cgroup_dirs(name) if path.name not in keep]
        if not left:
            break
        time.sleep(0.02)  # the killed processes need time to end
    return left


def cgroup_tops() -> list[Path]:
    """The mount points of the hierarchies."""
    return sorted(set(cgroup_hierarchies().values()))


def _may_hold_ours(directory: str, own: set[str]) -> bool:
    """Whether to search a directory that is not wanted itself: other trees may be huge.

    Ours are below the root, the session's cgroup, and the slices of systemd and its user managers."""
    claimed = any(token in directory for token in _tokens)
    return claimed or directory in own or directory.endswith(".slice") or directory.startswith("user@")


def _walk(top: Path, name: str, found: Callable[[Path], None], keep: Container[str] = (), remove: bool = False) -> None:
    """Call `found` for each; if `remove` is set, remove them, children first."""
    own = {part for path in cgroups_of("self").values() for part in path.split("/") if part}
    fd = os.open(top, DIRECTORY)
    path: list[str] = []
    wanted = [False]  # for the directory of fd, and those above
    todo = [_directories(fd)]
    try:
        while todo:
            if todo[-1]:
                child = todo[-1].pop()
                ours = wanted[-1] or name in "/".join(["", *path, child])
                below = _open(child, fd) if ours or _may_hold_ours(child, own) else None
                if below is None:
                    continue
                os.close(fd)
                fd = below
                path.append(child)
                wanted.append(ours)
                todo.append(_directories(fd))
                if ours:
                    found(top.joinpath(*path))
                continue
            todo.pop()
            ours = wanted.pop() and remove
            if path:
                child = path.pop()
                if ours and child not in keep:
                    _kill(fd)
                above = os.open("..", DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = above
                if ours and child not in keep:
                    _rmdir(child, fd)
    finally:
        os.close(fd)


def _directories(fd: int) -> list[str]:
    try:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in REMOVED:
            return []
        raise


def _open(name: str, fd: int) -> int | None:
    try:
        return os.open(name, DIRECTORY, dir_fd=fd)
    except OSError as error:
        if error.errno in REMOVED:
            return None
        raise


def _rmdir(name: str, fd: int) -> None:
    try:
        os.rmdir(name, dir_fd=fd)
    except OSError:
        return  # not empty yet, or gone: the caller looks again


def _kill(fd: int) -> None:
    """Thaw a cgroup, and kill its processes."""
    for file, state in (("freezer.state", b"THAWED"), ("cgroup.freeze", b"0")):
        _write(file, state, fd)
    try:
        with open(os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd), "rb") as stream:
            pids = [pid for word in stream.read().split() if (pid := int(word))]  # 0: not in our pid namespace
    except OSError:
        return
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _write(name: str, data: bytes, fd: int) -> None:
    try:
        file = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return
    try:
        os.write(file, data)
    except OSError:
        return
    finally:
        os.close(file)

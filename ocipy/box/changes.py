"""`box diff`: what a box has changed in its image, from the upper directory of its overlay (overlayfs.rst)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ocipy.box.trees import DIRECTORY, Entry, walk

OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque")
# fuse-overlayfs's marks for a deleted file, where it can make no device, and for an opaque directory. It refuses these
# names to the box.
MARK = ".wh."
OPAQUE_MARKS = (".wh..opq", ".wh..wh..opq")
# Mount points and network files that every box gets.
OURS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/box-init", "/run/busybox")


def changes(upper: Path, lower: Path, *, marks: bool = False) -> Iterator[tuple[str, str]]:
    """("A", "C" or "D", path in the box), sorted by path: added, changed, deleted. Raises OSError.

    As in docker and podman, a directory of the image is changed if something in it is; "/" is not listed. marks:
    whether fuse-overlayfs wrote the directory: to overlayfs, such a name is an ordinary file's.
    """
    parents: list[str] = []
    shared = 0  # how many of these, from the top, are directories in the image too
    listed = 0  # how many of those have been listed
    for entry in walk(os.open(upper, DIRECTORY)):
        if entry.after:
            parents.pop()
            shared = min(shared, len(parents))
            listed = min(listed, len(parents))
            continue
        if marks and entry.name in OPAQUE_MARKS:
            continue
        is_mark = marks and entry.name.startswith(MARK)
        path = "/".join((*parents, entry.name.removeprefix(MARK) if is_mark else entry.name))
        below = _status_of(lower / path) if shared == len(parents) else None
        kind = "D" if is_mark else _change(entry, below, marks=marks)
        is_directory = stat.S_ISDIR(entry.status.st_mode)
        is_shared = is_directory and below is not None and stat.S_ISDIR(below.st_mode)
        if kind and "/" + path not in OURS:
            for count in range(listed + 1, shared + 1):
                yield "C", "/" + "/".join(parents[:count])
            listed = shared
            if kind == "D" and is_directory:
                yield "C", "/" + path
                path += "/*"
            yield kind, "/" + path
            listed += is_shared
        if is_directory:
            shared += is_shared
            parents.append(entry.name)


def _change(entry: Entry, below: os.stat_result | None, *, marks: bool) -> str:
    """What an entry of the upper directory means, given the image's file of that name: "A", "C", "D", or "" for no
    change."""
    status = entry.status
    if is_whiteout(status):
        return "D"
    if below is None:
        return "A"
    if not stat.S_ISDIR(status.st_mode) or _differs(status, below):
        return "C"
    return "D" if is_opaque(f"/proc/self/fd/{entry.directory}/{entry.name}", marks=marks) else ""


def _status_of(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it marks a deleted file: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: str, *, marks: bool) -> bool:
    """Whether the directory hides the image's directory instead of merging with it."""
    for name in OPAQUE:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return marks and any(os.path.lexists(f"{path}/{mark}") for mark in OPAQUE_MARKS)


def _differs(above: os.stat_result, below: os.stat_result) -> bool:
    return (above.st_mode, above.st_uid, above.st_gid) != (below.st_mode, below.st_uid, below.st_gid)

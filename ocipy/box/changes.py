"""`box diff`: what a box has changed in its image, from the upper directory of its overlay (overlayfs.rst)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
# Mount points and network files that every box gets.
OURS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/box-init", "/run/busybox")


def changes(upper: Path, lower: Path) -> Iterator[tuple[str, str]]:
    """("A", "C" or "D", path in the box), sorted by path: added, changed, deleted."""
    for path in _walk(upper, ""):
        inside = "/" + path
        status = os.lstat(upper / path)
        if is_whiteout(status):
            yield "D", inside
        elif not os.path.lexists(lower / path):
            if inside not in OURS:
                yield "A", inside
        elif not stat.S_ISDIR(status.st_mode) or _differs(upper / path, lower / path):
            if inside not in OURS:
                yield "C", inside
        elif is_opaque(upper / path):
            yield "D", inside + "/*"


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it marks a deleted file: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path) -> bool:
    """Whether the directory hides the image's directory instead of merging with it."""
    for name in OPAQUE:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def _differs(upper: Path, lower: Path) -> bool:
    above, below = os.lstat(upper), os.lstat(lower)
    return (above.st_mode, above.st_uid, above.st_gid) != (below.st_mode, below.st_uid, below.st_gid)


def _walk(top: Path, below: str) -> Iterator[str]:
    """Everything below a directory, each directory before its content. Follows no symlink."""
    pending = [below]
    while pending:
        place = pending.pop()
        with os.scandir(top / place) as entries:
            for entry in sorted(entries, key=lambda one: one.name, reverse=True):
                if entry.is_dir(follow_symlinks=False):
                    pending.append(os.path.join(place, entry.name))
        with os.scandir(top / place) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                yield os.path.join(place, entry.name)

"""A root filesystem that attacks the host, and the host files that it would reach."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from tests.harness.bundle import Bundle


def everything_in(top: Path) -> dict[str, tuple[int, int, int, int, bytes | str | None]]:
    """The files of a directory: mode, owner, device and content of each."""
    found: dict[str, tuple[int, int, int, int, bytes | str | None]] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        about = path.lstat()
        content: bytes | str | None = None
        if path.is_symlink():
            content = os.readlink(path)
        elif stat.S_ISREG(about.st_mode):
            content = path.read_bytes()
        found[str(path)] = (about.st_mode, about.st_uid, about.st_gid, about.st_rdev, content)
    return found


def replace_with_link(bundle: Bundle, path: str, target: str) -> None:
    """Replace a file or directory of the root filesystem with a symlink."""
    place = bundle.rootfs / path
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    elif place.is_symlink() or place.exists():
        place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def ways_out(bundle: Bundle, outside: Path) -> dict[str, str]:
    """Symlink targets that lead to `outside` if the host follows them."""
    return {
        "absolute": str(outside),
        "relative": os.path.relpath(outside, bundle.rootfs),
        "root": "/",
        "magic": f"/proc/self/cwd/../../{outside.name}",
    }

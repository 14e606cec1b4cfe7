"""The files of a box, seen from the host: through the root of one of its processes, or in its upper directory.

For a user other than root, a child looks at them, as root of the box's user namespace: only there does the user have
rights over files of other ids, and only there does fuse-overlayfs answer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ocipy.box import forked
from ocipy.box.bundle import id_maps
from ocipy.box.changes import changes
from ocipy.box.config import User
from ocipy.box.copy_on_write import FUSE
from ocipy.box.inside import read_inside
from ocipy.box.record import Directory, Record
from ocipy.box.users import resolve


def at_root_of(pid: int, work: Callable[[str], bytes], *, rootless: bool) -> bytes:
    """Call work with the path of a process's root, which it must walk with care (inside.py). Return its result.

    Raises Error, OSError.
    """
    root = f"/proc/{pid}/root"
    return forked.in_user_namespace_of(pid, lambda: work(root)) if rootless else work(root)


def user_of(word: str, pid: int, *, rootless: bool) -> User:
    """The user of that name or number in a running box. Raises Error."""

    def read(root: str) -> bytes:
        passwd, group = (read_inside(root, path) for path in ("/etc/passwd", "/etc/group"))
        return len(passwd).to_bytes(4, "big") + passwd + group

    said = at_root_of(pid, read, rootless=rootless)
    end = 4 + int.from_bytes(said[:4], "big")
    return resolve(word, said[4:end], said[end:])


def changes_of(directory: Directory, record: Record, *, rootless: bool) -> list[tuple[str, str]]:
    """What a box has changed in its image: ("A", "C" or "D", path), sorted by path. Raises Error, OSError."""

    def work() -> bytes:
        marks = record.copy_on_write.by == FUSE
        found = changes(directory.path / "upper", Path(record.rootfs), marks=marks)
        return "".join(f"{kind}{path}\0" for kind, path in found).encode("utf-8", "surrogateescape")

    said = forked.as_root_of(id_maps(record.request, rootless), work) if rootless else work()
    words = said.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return [(word[0], word[1:]) for word in words]

"""Shares the files of images that have layers in common: a file that a new image and an older one have at the same
path, with the same content and attributes, is stored once, with a hard link in each.

So a base is stored once, on disk and in the page cache, although umoci unpacks each image into one directory
(docs/box.md says why). Nobody writes to images: overlayfs copies a file before a box changes it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from ocipy.box.trees import DIRECTORY, Entry, OpenDirectory, walk

TEMPORARY = ".ocipy-shared"
CHUNK = 1 << 20
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def share(new: Path, old: Path) -> int:
    """Replace files of a new image with hard links to those of an old one. Return how many bytes this saves."""
    saved = 0
    linked = set[int]()
    missing = 0  # how many of the directories above are not in the old image
    with OpenDirectory(os.open(old, DIRECTORY)) as there:
        for entry in walk(os.open(new, DIRECTORY), only_open=True):
            if not stat.S_ISDIR(entry.status.st_mode):
                if not missing and _link(entry, there.fd, linked):
                    saved += entry.status.st_size
            elif missing:
                missing += -1 if entry.after else 1
            elif entry.after:
                there.up()
                times = (entry.status.st_atime_ns, entry.status.st_mtime_ns)  # as before its files were replaced
                os.utime(entry.name, ns=times, dir_fd=entry.directory, follow_symlinks=False)
            else:
                try:
                    there.down(entry.name)
                except OSError:
                    missing = 1
    return saved


def _link(entry: Entry, there: int, linked: set[int]) -> bool:
    """Replace a file with the old image's, if it is the same. A file with several links keeps them, and two files stay
    two: with overlayfs's index, a box that changes one name of a file changes the others. linked: the old image's
    inodes that have been used.
    """
    status = entry.status
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or not status.st_size:
        return False
    with suppress(OSError):  # it does not exist, cannot be read, or has as many links as the filesystem allows
        inode = os.stat(entry.name, dir_fd=there, follow_symlinks=False).st_ino
        if inode in linked or not _is_same(entry, there):
            return False
        os.link(entry.name, TEMPORARY, src_dir_fd=there, dst_dir_fd=entry.directory, follow_symlinks=False)
        os.replace(TEMPORARY, entry.name, src_dir_fd=entry.directory, dst_dir_fd=entry.directory)
        linked.add(inode)
        return True
    return False


def _is_same(entry: Entry, there: int) -> bool:
    """Whether both files have the same attributes and content. Raises OSError."""
    old = os.stat(entry.name, dir_fd=there, follow_symlinks=False)
    if _attributes(old) != _attributes(entry.status):
        return False
    with (
        os.fdopen(os.open(entry.name, FILE, dir_fd=there), "rb") as one,
        os.fdopen(os.open(entry.name, FILE, dir_fd=entry.directory), "rb") as other,
    ):
        if _extended(one.fileno()) != _extended(other.fileno()):
            return False
        while data := one.read(CHUNK):
            if data != other.read(CHUNK):
                return False
        return not other.read(1)


def _attributes(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns


def _extended(fd: int) -> dict[str, bytes]:
    return {name: os.getxattr(fd, name) for name in os.listxattr(fd)}

"""`box cp`: copies between the host and a box by file descriptors, so the box's symlinks lead nowhere else.

A box can change its files during the copy, and is not trusted. So each path is walked component by component without
following a symlink (inside.py), and a file is opened, inspected and read through one file descriptor
(CVE-2019-14271, CVE-2018-15664).
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from ocipy import Error
from ocipy.box.inside import open_inside
from ocipy.box.trees import DIRECTORY, Entry, Place, walk


def copy_out(root: str, path: str, target: Path) -> None:
    """Copy a file or directory from a box to the host, owned by the caller. Raises Error, OSError."""
    name = path.rstrip("/").rpartition("/")[2]
    _refuse_symlink(target)
    if target.is_dir():
        target = target / (name or "root")
    source = open_inside(root, path, os.O_PATH)
    try:
        status = os.fstat(source)
        if stat.S_ISDIR(status.st_mode):
            target.mkdir(exist_ok=True)
            with Place(_opened(target, DIRECTORY)) as place:
                _copy_tree(_reopened(source), place, None)
                os.fchmod(place.fd, _mode(status))
        elif stat.S_ISREG(status.st_mode):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(_opened(target, flags), "wb") as out:
                _copy_file(source, out, None)
        else:
            raise Error(f"{path} is neither a file nor a directory")
    finally:
        os.close(source)


def _refuse_symlink(target: Path) -> None:
    """The target on the host may not be a symlink, to a directory either: an earlier copy may have brought it from the
    box, which then chooses where the next one writes."""
    if target.is_symlink():
        raise Error(f"{target} is a symlink, perhaps the box's own", hint="remove it, or name what it leads to")


def _opened(target: Path, flags: int) -> int:
    _refuse_symlink(target)
    return os.open(target, flags, 0o666)


def copy_in(source: Path, root: str, path: str) -> None:
    """Copy a file or directory from the host into a box, owned by its root. Raises Error, OSError."""
    owner = os.stat(root)
    name = source.resolve().name
    try:
        fd = open_inside(root, path, os.O_PATH)
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError
    except FileNotFoundError:
        parent, _, name = path.rstrip("/").rpartition("/")
        fd = open_inside(root, parent or "/", os.O_PATH)
    with Place(fd) as place:
        if not name or name in (".", ".."):
            raise Error(f"{path} does not name a file", status=2)
        status = source.lstat()
        if stat.S_ISDIR(status.st_mode):
            _enter(place, name)
            _copy_tree(os.open(source, DIRECTORY), place, owner)
            _give(place.fd, status, owner)
        else:
            above = os.open(source.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _copy_one(Entry(above, source.name, status, 0), place, name, owner)
            finally:
                os.close(above)


def _copy_tree(source: int, place: Place, owner: os.stat_result | None) -> None:
    """Copy all that a directory contains into a place. owner: of the copies; None for the caller."""
    for entry in walk(source):
        if entry.after:
            _give(place.fd, entry.status, owner)
            place.up()
        elif stat.S_ISDIR(entry.status.st_mode):
            _enter(place, entry.name)
        else:
            _copy_one(entry, place, entry.name, owner)


def _enter(place: Place, name: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=place.fd)
    place.down(name)


def _copy_one(entry: Entry, place: Place, name: str, owner: os.stat_result | None) -> None:
    """Copy a file or symlink. Devices, sockets and FIFOs are not copied."""
    source = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.directory)
    try:
        mode = os.fstat(source).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink("", dir_fd=source), name, dir_fd=place.fd)
        elif stat.S_ISREG(mode):
            # Replace it: an existing one may be a FIFO, a device, or a hard link to a file in a volume.
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place.fd)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(name, flags, 0o600, dir_fd=place.fd), "wb") as out:
                _copy_file(source, out, owner)
    finally:
        os.close(source)


def _copy_file(source: int, out: IO[bytes], owner: os.stat_result | None) -> None:
    with open(f"/proc/self/fd/{source}", "rb") as file:
        shutil.copyfileobj(file, out)
        out.flush()
        if not stat.S_ISREG(os.fstat(out.fileno()).st_mode):
            return  # such as /dev/null, whose mode is everybody's
        _give(out.fileno(), os.fstat(source), owner)


def _reopened(fd: int) -> int:
    """The directory of an O_PATH descriptor, to be read."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _mode(status: os.stat_result) -> int:
    return stat.S_IMODE(status.st_mode) & 0o777


def _give(fd: int, status: os.stat_result, owner: os.stat_result | None) -> None:
    if owner is not None and os.geteuid() == 0:
        os.fchown(fd, owner.st_uid, owner.st_gid)
    os.fchmod(fd, _mode(status))

"""`box cp`: copies between the host and a box by file descriptors, so the box's symlinks lead nowhere else.

A box can change its files during the copy, and is not trusted. So each path is walked component by component without
following a symlink (inside.py), and a file is opened, inspected and read through one file descriptor
(CVE-2019-14271, CVE-2018-15664).
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from ocipy import Error
from ocipy.box.inside import open_inside

NOFOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC


def copy_out(root: str, path: str, target: Path) -> None:
    """Copy a file or directory from a box to the host, owned by the caller. Raises Error, OSError."""
    name = path.rstrip("/").rpartition("/")[2]
    if target.is_dir():
        target = target / (name or "root")
    source = open_inside(root, path, os.O_PATH)
    try:
        _out(source, target)
    finally:
        os.close(source)


def _out(source: int, target: Path) -> None:
    status = os.fstat(source)
    mode = stat.S_IMODE(status.st_mode) & 0o777
    if stat.S_ISREG(status.st_mode):
        with open(f"/proc/self/fd/{source}", "rb") as file, open(target, "wb") as out:
            shutil.copyfileobj(file, out)
            os.fchmod(out.fileno(), mode)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink("", dir_fd=source), target)
    elif stat.S_ISDIR(status.st_mode):
        target.mkdir(exist_ok=True)
        directory = os.open(f"/proc/self/fd/{source}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(directory):
                below = os.open(name, os.O_PATH | NOFOLLOW, dir_fd=directory)
                try:
                    _out(below, target / name)
                finally:
                    os.close(below)
        finally:
            os.close(directory)
        target.chmod(mode)
    # Devices, sockets and FIFOs are not copied.


def copy_in(source: Path, root: str, path: str) -> None:
    """Copy a file or directory from the host into a box, owned by its root. Raises Error, OSError."""
    owner = os.stat(root)
    name = source.resolve().name
    try:
        place = open_inside(root, path, os.O_PATH)
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            os.close(place)
            raise FileNotFoundError
    except FileNotFoundError:
        parent, _, name = path.rstrip("/").rpartition("/")
        place = open_inside(root, parent or "/", os.O_PATH)
    try:
        if not name or name in (".", ".."):
            raise Error(f"{path} names no file", status=2)
        _in(source, place, name, owner)
    finally:
        os.close(place)


def _in(source: Path, place: int, name: str, owner: os.stat_result) -> None:
    status = source.lstat()
    if stat.S_ISDIR(status.st_mode):
        try:
            os.mkdir(name, 0o700, dir_fd=place)
        except FileExistsError:
            pass
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | NOFOLLOW, dir_fd=place)
        try:
            for entry in sorted(source.iterdir()):
                _in(entry, below, entry.name, owner)
            _give(below, status, owner)
        finally:
            os.close(below)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), name, dir_fd=place)
    elif stat.S_ISREG(status.st_mode):
        # Replace it: an existing one may be a FIFO, a device, or a hard link to a file in a volume.
        try:
            os.unlink(name, dir_fd=place)
        except FileNotFoundError:
            pass
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW, 0o600, dir_fd=place)
        with open(source, "rb") as file, os.fdopen(fd, "wb") as out:
            shutil.copyfileobj(file, out)
            _give(out.fileno(), status, owner)


def _give(fd: int, status: os.stat_result, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.fchown(fd, owner.st_uid, owner.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode) & 0o777)

"""`box cp`: copies between the host and a box through file descriptors, so that the box's symlinks cannot redirect it.

The box is not trusted, and can change its files during the copy. So its paths are resolved within its root (inside.py),
and a file is opened, inspected and read through one file descriptor (CVE-2019-14271, CVE-2018-15664).
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
from ocipy.box.trees import DIRECTORY, Entry, OpenDirectory, walk


def copy_out(root: str, path: str, target: str, *, follow: bool = False) -> None:
    """Copy a file, directory or symlink from a box to the host, owned by the caller. Raises Error, OSError.

    follow: copy what a symlink leads to in the box, under the symlink's name. A symlink is also followed if the path
    ends with "/" (path_resolution(7)).
    """
    name = path.rstrip("/").rpartition("/")[2]
    source = open_inside(root, path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
    try:
        destination = _target(target, name)
        status = os.fstat(source)
        if stat.S_ISDIR(status.st_mode):
            destination.mkdir(exist_ok=True)
            with OpenDirectory(_opened(destination, DIRECTORY)) as below:
                _copy_tree(_reopened(source), below, None)
                os.fchmod(below.fd, _mode(status))
        elif stat.S_ISREG(status.st_mode):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(_opened(destination, flags), "wb") as out:
                _copy_file(source, out, None)
        elif stat.S_ISLNK(status.st_mode):
            destination.unlink(missing_ok=True)
            destination.symlink_to(os.readlink("", dir_fd=source))
        else:
            raise Error(f"{path} is neither a file, a directory, nor a symlink")
    finally:
        os.close(source)


def _target(word: str, name: str) -> Path:
    """The path on the host for a file of this name: in the directory `word`, if it is one, otherwise `word` itself.

    A symlink to a directory is followed only if the word ends with "/". Raises Error.
    """
    target = Path(word)
    if not target.is_dir():
        return target
    if not word.endswith(("/", "/.")):
        _refuse_symlink(target)
    return target / ("root" if name in ("", "..") else name)


def _opened(target: Path, flags: int) -> int:
    """Open the target on the host, which must not be a symlink."""
    _refuse_symlink(target)
    return os.open(target, flags, 0o666)


def _refuse_symlink(target: Path) -> None:
    """Raise Error for a symlink: an earlier copy may have brought it from the box."""
    if target.is_symlink():
        hint = f"to copy into the directory it leads to, write {target}/" if target.is_dir() else ""
        hint = hint or "remove it, or name the file it leads to"
        raise Error(f"{target} is a symlink, perhaps copied from the box", hint=hint)


def copy_in(word: str, root: str, path: str, *, follow: bool = False) -> None:
    """Copy a file, directory or symlink from the host into a box, owned by its root. Raises Error, OSError.

    follow: copy what a symlink leads to, under the symlink's name. "/." at the end means the content of a directory.
    """
    owner = os.stat(root)
    source = Path(word)
    status = source.stat() if follow or word.endswith(("/", "/.")) else source.lstat()
    content = word == "." or word.endswith("/.")
    name = source.name if source.name not in ("", "..") else source.resolve().name
    try:
        fd = open_inside(root, path, os.O_PATH)
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError
    except FileNotFoundError:
        content = False
        parent, _, name = path.rstrip("/").rpartition("/")
        fd = open_inside(root, parent or "/", os.O_PATH)
    with OpenDirectory(fd) as directory:
        if not name or name in (".", ".."):
            raise Error(f"{path} does not name a file", status=2)
        if stat.S_ISDIR(status.st_mode):
            if not content:
                _enter(directory, name)
            _copy_tree(os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), directory, owner)
            if not content:
                _set_owner_and_mode(directory.fd, status, owner)
        elif not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise Error(f"{word} is neither a file, a directory, nor a symlink")
        else:
            real = source.resolve() if stat.S_ISREG(status.st_mode) else source
            above = os.open(real.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _copy_one(Entry(above, real.name, status, 0), directory, name, owner)
            finally:
                os.close(above)


def _copy_tree(source: int, directory: OpenDirectory, owner: os.stat_result | None) -> None:
    """Copy the content of a directory into another one. owner: of the copies; None for the caller."""
    for entry in walk(source):
        if entry.after:
            _set_owner_and_mode(directory.fd, entry.status, owner)
            directory.up()
        elif stat.S_ISDIR(entry.status.st_mode):
            _enter(directory, entry.name)
        else:
            _copy_one(entry, directory, entry.name, owner)


def _enter(directory: OpenDirectory, name: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=directory.fd)
    directory.down(name)


def _copy_one(entry: Entry, directory: OpenDirectory, name: str, owner: os.stat_result | None) -> None:
    """Copy a file or symlink. Devices, sockets and FIFOs are not copied."""
    source = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.directory)
    try:
        mode = os.fstat(source).st_mode
        if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode)):
            return
        # Replace what is there: it may be a FIFO, a device, or a hard link to a file in a volume.
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory.fd)
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink("", dir_fd=source), name, dir_fd=directory.fd)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(name, flags, 0o600, dir_fd=directory.fd), "wb") as out:
                _copy_file(source, out, owner)
    finally:
        os.close(source)


def _copy_file(source: int, out: IO[bytes], owner: os.stat_result | None) -> None:
    with open(f"/proc/self/fd/{source}", "rb") as file:
        shutil.copyfileobj(file, out)
        out.flush()
        if not stat.S_ISREG(os.fstat(out.fileno()).st_mode):
            return  # the target is a file such as /dev/null: leave its owner and mode alone
        _set_owner_and_mode(out.fileno(), os.fstat(source), owner)


def _reopened(fd: int) -> int:
    """Open the directory of an O_PATH descriptor for reading."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _mode(status: os.stat_result) -> int:
    return stat.S_IMODE(status.st_mode) & 0o777


def _set_owner_and_mode(fd: int, status: os.stat_result, owner: os.stat_result | None) -> None:
    if owner is not None and os.geteuid() == 0:
        os.fchown(fd, owner.st_uid, owner.st_gid)
    os.fchmod(fd, _mode(status))

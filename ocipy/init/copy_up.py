"""Copy a directory's content into a new tmpfs (mount option tmpcopyup), by descriptors, without following symlinks."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_SYMLINK_NOFOLLOW,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 100
CHUNK = 1 << 20


def copy_content(target: int, tree: int, data: Sequence[str]) -> None:
    """Copy the directory's content into the tmpfs (tmpcopyup), and its owner too unless the options give one."""
    source = posix.open(".", O_RDONLY | O_DIRECTORY, dir_fd=target)
    below = posix.open(".", O_RDONLY | O_DIRECTORY, dir_fd=tree)
    try:
        copy_tree(source, below)
        if not any(word.startswith(("uid=", "gid=")) for word in data):
            status = posix.stat(source)
            _kernel.fchownat(below, "", status.st_uid, status.st_gid, AT_EMPTY_PATH)
    finally:
        posix.close(source)
        posix.close(below)


def copy_tree(source: int, target: int, depth: int = 0) -> None:
    """Copy the content of the directory source into the directory target. Raises OSError or Error.

    Keeps owners, modes, times, extended attributes and symlinks. Hard links become separate files.
    """
    if depth > MAX_DEPTH:
        raise Error(f"the directory to copy is more than {MAX_DEPTH} levels deep")
    for name in posix.listdir(source):
        status = posix.stat(name, dir_fd=source, follow_symlinks=False)
        kind = status.st_mode & S_IFMT
        if kind == S_IFDIR:
            _copy_directory(source, target, name, depth)
        elif kind == S_IFREG:
            _copy_file(source, target, name)
        elif kind == S_IFLNK:
            posix.symlink(posix.readlink(name, dir_fd=source), name, dir_fd=target)
            _kernel.fchownat(target, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW)
        else:
            _copy_node(target, name, status)


def _copy_directory(source: int, target: int, name: str, depth: int) -> None:
    below = posix.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, dir_fd=source)
    try:
        posix.mkdir(name, 0o700, dir_fd=target)
        made = posix.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, dir_fd=target)
        try:
            copy_tree(below, made, depth + 1)
            _copy_metadata(below, made)
        finally:
            posix.close(made)
    finally:
        posix.close(below)


def _copy_file(source: int, target: int, name: str) -> None:
    # O_NONBLOCK: it may have become a FIFO since copy_tree looked.
    below = posix.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, dir_fd=source)
    try:
        if posix.stat(below).st_mode & S_IFMT != S_IFREG:
            raise Error(f"{name} changed while being copied")
        made = posix.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while posix.sendfile(made, below, None, CHUNK):
                pass
            _copy_metadata(below, made)
        finally:
            posix.close(made)
    finally:
        posix.close(below)


def _copy_node(target: int, name: str, status: posix.stat_result) -> None:
    """Make a device, FIFO or socket. Devices are left out in a user namespace, which cannot make them (mknod(2))."""
    try:
        posix.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
    except PermissionError:
        return
    _kernel.fchownat(target, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW)


def _copy_metadata(source: int, target: int) -> None:
    status = posix.stat(source)
    _kernel.fchownat(target, "", status.st_uid, status.st_gid, AT_EMPTY_PATH)
    posix.fchmod(target, status.st_mode & 0o7777)
    for name in _attributes(source):
        try:
            posix.setxattr(target, name, posix.getxattr(source, name))
        except OSError as error:
            # The kernel reserves some attributes, and tmpfs does not support every kind.
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                raise
    posix.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _attributes(source: int) -> list[str]:
    try:
        return posix.listxattr(source)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise

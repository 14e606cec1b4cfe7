"""Paths in the container: the kernel resolves them inside the container's root, and we use the descriptors.

The root filesystem is hostile: every component may be a symlink to anywhere, and may be swapped while we look
(CVE-2021-30465, CVE-2024-45310). So no path is checked first and used later: openat2(2) opens it once, with
RESOLVE_IN_ROOT, and everything is done to the descriptor. Missing directories are made one by one, each below the
descriptor of the last.
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_WRONLY,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    S_IFDIR,
    S_IFMT,
)

IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
NO_SYMLINKS = IN_ROOT | RESOLVE_NO_SYMLINKS
CHILD = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
MAX_SYMLINKS = 40  # the kernel's limit, path_resolution(7)
DIRECTORY_MODE = 0o755
FILE_MODE = 0o644


def open_below(root: int, path: str, flags: int = O_PATH) -> int:
    """Open a path below the root, with or without a leading slash. Raises OSError."""
    return _kernel.openat2(root, path or ".", flags, 0, IN_ROOT)


def split(path: str) -> tuple[str, str]:
    """Return (parent, last component) of a path, without slashes at their ends."""
    parent, _, name = path.strip("/").rpartition("/")
    return parent, name


def is_directory(fd: int) -> bool:
    """Whether the descriptor refers to a directory."""
    return posix.stat(fd).st_mode & S_IFMT == S_IFDIR


def make_directory(root: int, path: str) -> int:
    """Return an O_PATH descriptor of the directory, making it and its parents. Raises OSError or Error."""
    return make(root, path, directory=True)[0]


def parent_and_name(path: str) -> tuple[str, str]:
    """Like split. Raises Error if the last component cannot be a file's name."""
    parent, name = split(path)
    if name in ("", ".", ".."):
        raise Error(f"{path!r} does not name a file")
    return parent, name


def make_parent(root: int, path: str) -> tuple[int, str]:
    """Return (O_PATH descriptor of the parent, made if missing; last component). Raises OSError or Error."""
    parent, name = parent_and_name(path)
    return make_directory(root, parent), name


def make(root: int, path: str, *, directory: bool, follow: bool = True) -> tuple[int, bool]:
    """Return (O_PATH descriptor of the path, whether it was missing). If it was, make a directory or an empty file.

    A dangling symlink, as images have for resolv.conf, is followed: the file is made where it points.
    follow: whether symlinks are followed. If not, one anywhere in the path is an error, ELOOP; so a path without ".."
    leads where it says.
    Raises OSError, or Error for a path that cannot be made.
    """
    resolve, tries = (IN_ROOT, MAX_SYMLINKS) if follow else (NO_SYMLINKS, 1)
    for _ in range(tries):
        try:
            return _kernel.openat2(root, path or ".", O_PATH, 0, resolve), False
        except FileNotFoundError:
            pass
        parent, parent_path, rest = _deepest(root, path, resolve)
        try:
            link = _read_link(parent, rest[0])
            if link is None:
                return _make_rest(parent, rest, directory), True
        finally:
            posix.close(parent)
        # Joining them as text is safe: the kernel resolves the result again, from the root.
        path = "/".join([link if link.startswith("/") else parent_path + "/" + link, *rest[1:]])
    raise OSError(errno.ELOOP, posix.strerror(errno.ELOOP))


def _deepest(root: int, path: str, resolve: int) -> tuple[int, str, list[str]]:
    """Return (descriptor of the deepest existing part of the path, its path, the missing components)."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for count in range(len(parts) - 1, -1, -1):
        there = "/".join(parts[:count])
        try:
            return _kernel.openat2(root, there or ".", O_PATH | O_DIRECTORY, 0, resolve), there, parts[count:]
        except FileNotFoundError:
            pass
    raise OSError(errno.ENOENT, posix.strerror(errno.ENOENT))  # the root itself has been removed


def _read_link(directory: int, name: str) -> str | None:
    """Return the target of a symlink, None if there is no symlink of that name."""
    try:
        return posix.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return None
        raise


def _make_rest(parent: int, rest: list[str], directory: bool) -> int:
    if ".." in rest:
        raise Error('cannot make a path with ".." after a missing directory')
    current = parent
    try:
        for name in rest[:-1]:
            below = _make_child(current, name)
            if current != parent:
                posix.close(current)
            current = below
        return _make_child(current, rest[-1]) if directory else _make_file(current, rest[-1])
    finally:
        if current != parent:
            posix.close(current)


def _make_child(directory: int, name: str) -> int:
    """Make one directory and open it. If somebody else has just put something there, it must be a directory too."""
    try:
        posix.mkdir(name, DIRECTORY_MODE, dir_fd=directory)
    except FileExistsError:
        pass
    return _kernel.openat2(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, CHILD)


def _make_file(directory: int, name: str) -> int:
    """Make one empty file and open it with O_PATH."""
    try:
        posix.close(posix.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE, dir_fd=directory))
    except FileExistsError:
        pass
    return _kernel.openat2(directory, name, O_PATH | O_NOFOLLOW, 0, CHILD)


def make_plain_directory(root: int, path: str) -> int:
    """Like make_directory, but the last component must itself be a directory, not a symlink to one.

    For proc and sysfs, which must be where masked and readonly paths expect them (CVE-2019-19921, CVE-2023-27561).
    Raises Error for anything else, or OSError.
    """
    parent, name = make_parent(root, path)
    try:
        try:
            flags = O_PATH | O_DIRECTORY | O_NOFOLLOW
            return _kernel.openat2(parent, name, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        except FileNotFoundError:
            return _make_child(parent, name)
        except OSError as error:
            # For a symlink, O_PATH with O_NOFOLLOW and O_DIRECTORY fails with ENOTDIR, RESOLVE_NO_SYMLINKS with ELOOP.
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise Error(f"{path} is not an ordinary directory") from None
    finally:
        posix.close(parent)

"""Walks a directory tree through descriptors, however deep it is: without following symlinks, without recursion.

A box chooses the depth of its directories, so neither the interpreter's stack, nor PATH_MAX, nor the limit on open
files may depend on it: only one directory is open at a time.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from ocipy.box.tools import begin
from ocipy.errors import caused_by

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OpenDirectory:
    """An open directory, which can move down into its subdirectories, and back. It takes over the descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._above: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self.fd)

    def down(self, name: str) -> None:
        """Move into a directory. Raises OSError for anything else, such as a symlink."""
        below = os.open(name, DIRECTORY, dir_fd=self.fd)
        self._above.append(_identity(self.fd))
        os.close(self.fd)
        self.fd = below

    def up(self) -> None:
        """Move back. Raises OSError if the directory has been moved elsewhere, where ".." is another one."""
        above = os.open("..", DIRECTORY, dir_fd=self.fd)
        if _identity(above) != self._above[-1]:
            os.close(above)
            raise OSError(errno.ESTALE, "a directory was moved meanwhile")
        self._above.pop()
        os.close(self.fd)
        self.fd = above


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


class Entry(NamedTuple):
    """One file of a tree. directory: the descriptor of its directory, until the next entry. depth: 0 at the top.

    after: the second visit to a directory, after everything in it.
    """

    directory: int
    name: str
    status: os.stat_result
    depth: int
    after: bool = False


def walk(top: int, *, only_open: bool = False) -> Iterator[Entry]:
    """Everything below a directory, sorted by name; each directory before its content and once more after it.

    top: its descriptor, which the walk closes. only_open: skip the content of directories that we may not read; for a
    user, an image may have some. Skips what disappears in the meantime. Raises OSError.
    """
    with OpenDirectory(top) as here:
        todo = [_names(here.fd)]
        parents: list[tuple[str, os.stat_result]] = []
        while True:
            if todo[-1]:
                name = todo[-1].pop()
                try:
                    status = os.stat(name, dir_fd=here.fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield Entry(here.fd, name, status, len(parents))
                if stat.S_ISDIR(status.st_mode):
                    if only_open and not _is_open(name, here.fd):
                        yield Entry(here.fd, name, status, len(parents), after=True)
                        continue
                    try:
                        here.down(name)
                    except FileNotFoundError:
                        yield Entry(here.fd, name, status, len(parents), after=True)
                        continue
                    parents.append((name, status))
                    todo.append(_names(here.fd))
            elif parents:
                todo.pop()
                here.up()
                name, status = parents.pop()
                yield Entry(here.fd, name, status, len(parents), after=True)
            else:
                return


def _is_open(name: str, above: int) -> bool:
    return os.access(name, os.R_OK | os.X_OK, dir_fd=above, effective_ids=True)


def _names(fd: int) -> list[str]:
    return sorted(os.listdir(fd), reverse=True)


def size_of(directory: Path) -> int:
    """The size in bytes of all files below that we can see; counts hard-linked files once. Raises OSError."""
    seen = set()
    total = 0
    for entry in walk(os.open(directory, DIRECTORY), only_open=True):
        file = (entry.status.st_dev, entry.status.st_ino)
        if not stat.S_ISDIR(entry.status.st_mode) and file not in seen:
            seen.add(file)
            total += entry.status.st_size
    return total


def remove_tree(path: Path) -> None:
    """Remove a directory tree, even parts that are closed to their owner or belong to our subordinate ids.

    Raises Error.
    """
    try:
        _empty(path)
        path.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if os.geteuid() == 0 or not _remove_as_their_root(path):
            raise caused_by(error, "cannot remove a directory", pointer=str(path)) from None


def _empty(path: Path) -> None:
    for entry in walk(os.open(path, DIRECTORY)):
        if entry.after:
            os.rmdir(entry.name, dir_fd=entry.directory)
        elif not stat.S_ISDIR(entry.status.st_mode):
            os.unlink(entry.name, dir_fd=entry.directory)
        elif entry.status.st_mode & 0o700 != 0o700 and os.geteuid() != 0:
            _open_up(entry)


def _open_up(entry: Entry) -> None:
    """Give the owner access to a directory: overlayfs keeps one of mode 0 in its work directory."""
    fd = os.open(entry.name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.directory)
    try:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)  # fchmod(2) refuses an O_PATH descriptor
    finally:
        os.close(fd)


def _remove_as_their_root(path: Path) -> bool:
    """Remove it as root of a user namespace with our subordinate ids (subuid(5)), which own the box's files."""
    words = ["unshare", "--map-root-user", "--map-auto", "--", "rm", "-rf", "--", str(path)]
    null = subprocess.DEVNULL
    return begin(words, "cannot remove a directory of other ids", stdout=null, stderr=null).wait() == 0

"""Opens files of an untrusted root filesystem, whose symlinks cannot lead out of it: for stored images, and for the
files of a box seen from the host."""

from __future__ import annotations

import errno
import os
import stat

from ocipy.linux import _kernel
from ocipy.linux.constants import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS

MAX_SIZE = 1 << 20


def open_inside(root: str, path: str, flags: int = os.O_RDONLY) -> int:
    """Open the file that the path names when `root` is "/". Return its file descriptor. Raises OSError."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        only = os.O_PATH | os.O_CLOEXEC | (flags & os.O_NOFOLLOW)
        found = _kernel.openat2(directory, path or "/", only, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(directory)
    if flags & os.O_PATH:
        return found
    try:
        # Reopen it by its file descriptor, and only if opening is harmless: a FIFO would block, a device might act.
        if stat.S_IFMT(os.fstat(found).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise OSError(errno.EINVAL, "not a file or directory", path)
        return os.open(f"/proc/self/fd/{found}", flags | os.O_CLOEXEC | os.O_NONBLOCK)
    finally:
        os.close(found)


def read_inside(root: str, path: str, limit: int = MAX_SIZE) -> bytes:
    """The content of a file in a root filesystem, at most `limit` bytes; b"" if it is missing or not a file."""
    try:
        fd = open_inside(root, path)
    except OSError:
        return b""
    try:
        data = b""
        while len(data) < limit and (part := os.read(fd, limit - len(data))):
            data += part
        return data
    except OSError:
        return b""
    finally:
        os.close(fd)

"""Opens files of an untrusted root filesystem without letting its symlinks lead out: for images at rest, and for the
files of a box seen from the host."""

from __future__ import annotations

import errno
import os
import stat

MAX_LINKS = 40
MAX_SIZE = 1 << 20


def open_inside(root: str, path: str, flags: int = os.O_RDONLY) -> int:
    """Open the file that the path names when `root` is "/". Return its file descriptor. Raises OSError.

    It walks component by component and follows no symlink; it reads each symlink and walks its target from the root, as
    openat2(2) does with RESOLVE_IN_ROOT, which Python does not offer.
    """
    todo = [part for part in path.split("/") if part not in ("", ".")]
    done: list[int] = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    links = 0
    try:
        while todo:
            part = todo.pop(0)
            if part == "..":
                if len(done) > 1:
                    os.close(done.pop())
                continue
            fd = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=done[-1])
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                link = os.readlink("", dir_fd=fd)
                os.close(fd)
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if link.startswith("/"):
                    while len(done) > 1:
                        os.close(done.pop())
                todo = [one for one in link.split("/") if one not in ("", ".")] + todo
                continue
            done.append(fd)
        if flags & os.O_PATH:
            return os.dup(done[-1])
        # Reopen it by its file descriptor, and only if opening is harmless: a FIFO would block, a device might act.
        if not (stat.S_ISREG(os.fstat(done[-1]).st_mode) or stat.S_ISDIR(os.fstat(done[-1]).st_mode)):
            raise OSError(errno.EINVAL, "not a file or directory", path)
        return os.open(f"/proc/self/fd/{done[-1]}", flags | os.O_CLOEXEC | os.O_NONBLOCK)
    finally:
        for fd in done:
            os.close(fd)


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

"""Files of a root file system that somebody else has made: opened so that no symlink of it leads out. For images at
rest, and for the files of a box that is looked at from the host."""

from __future__ import annotations

import errno
import os
import stat

MAX_LINKS = 40
MAX_SIZE = 1 << 20


def open_inside(root: str, path: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of what is at the path when `root` is "/". Raises OSError.

    Component by component, each without following a link; a link is read, and walked from the root on: what openat2(2)
    does with RESOLVE_IN_ROOT, which Python does not offer.
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
        # Only by the descriptor, and only what opening does nothing to: a FIFO would wait, a device act.
        if not (stat.S_ISREG(os.fstat(done[-1]).st_mode) or stat.S_ISDIR(os.fstat(done[-1]).st_mode)):
            raise OSError(errno.EINVAL, "not a file or directory", path)
        return os.open(f"/proc/self/fd/{done[-1]}", flags | os.O_CLOEXEC | os.O_NONBLOCK)
    finally:
        for fd in done:
            os.close(fd)


def read_inside(root: str, path: str, limit: int = MAX_SIZE) -> bytes:
    """The content of a file of a root file system, b"" if it is not there or no file. No more than `limit` bytes."""
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

"""Small host files, each read or written as a whole; the standard streams."""

from __future__ import annotations

import posix

from ocipy.errors import reported_as
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY, RENAME_EXCHANGE


def read_file(path: str | int) -> bytes:
    """Return the content of a small file. path: its name, or a descriptor, which is closed. Raises OSError."""
    fd = posix.open(path, O_RDONLY | O_CLOEXEC) if isinstance(path, str) else path
    try:
        parts = [posix.read(fd, 65536)]
        while parts[-1]:
            parts.append(posix.read(fd, 65536))
        return b"".join(parts)
    finally:
        posix.close(fd)


def write_file(path: str, data: bytes, mode: int = 0o600, *, exchange: bool = False) -> None:
    """Write a file under a temporary name and rename it: readers see all of it or nothing. Raises OSError.

    exchange: exchange it with the file that is there, if any, and remove that one. If a file is renamed over another,
    ext4 writes it to the disk at once (ext4(5), auto_da_alloc), and removing it has to wait for that.
    """
    slash = path.rfind("/") + 1
    temporary = f"{path[:slash]}.{path[slash:]}.{posix.getpid()}"
    try:
        fd = posix.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
    except FileExistsError:  # left by a killed process with the same pid
        posix.unlink(temporary)
        fd = posix.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
    try:
        try:
            written = 0
            while written < len(data):
                written += posix.write(fd, data[written:])
        finally:
            posix.close(fd)
        if not exchange or not _exchanged(temporary, path):
            posix.rename(temporary, path)
    except OSError:
        posix.unlink(temporary)
        raise


def _exchanged(temporary: str, path: str) -> bool:
    """Put one file in the other's place, and remove the other. False if there is none, or the filesystem cannot."""
    try:
        _kernel.renameat2(temporary, path, RENAME_EXCHANGE)
    except OSError:
        return False
    posix.unlink(temporary)
    return True


def hold_streams(flags: int) -> None:
    """Open /dev/null on closed standard streams: otherwise the next files opened would get their numbers.

    flags: of open(2). Raises Error.
    """
    for fd in range(3):
        try:
            posix.fstat(fd)
        except OSError:
            _open_null(flags)


def _open_null(flags: int) -> None:
    with reported_as("cannot open it for a closed standard stream", pointer="/dev/null"):
        posix.open("/dev/null", flags)


def exists(path: str) -> bool:
    """Whether a file of that name exists. A dangling symbolic link counts too."""
    try:
        posix.lstat(path)
    except OSError:
        return False
    return True


def unlink(path: str) -> None:
    """Remove a file if possible; ignore errors."""
    try:
        posix.unlink(path)
    except OSError:
        pass

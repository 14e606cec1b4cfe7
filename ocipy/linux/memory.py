"""Files in memory (memfd_create(2))."""

from __future__ import annotations

import errno
import posix

from ocipy.linux.constants import MFD_CLOEXEC, MFD_NOEXEC_SEAL


def memory_file(name: str, content: bytes) -> int:
    """Return a descriptor of a new file in memory with this content, positioned at its start. Raises OSError."""
    try:
        fd = posix.memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # Linux before 6.3
            raise
        fd = posix.memfd_create(name, MFD_CLOEXEC)
    while content:
        content = content[posix.write(fd, content) :]
    posix.lseek(fd, 0, 0)
    return fd

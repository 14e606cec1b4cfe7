"""The directories that criu writes its images and its log to, or reads them from. Cold."""

from __future__ import annotations

import os
import posix

from ocipy.errors import reported_as

# Stored with criu's images, under runc's name: the standard streams that the container had.
DESCRIPTORS = "descriptors.json"


def open_directory(path: str, flag: str, *, make: bool = False) -> int:
    """Return a descriptor of a directory for criu, made accessible to its owner only if missing. Raises Error."""
    with reported_as(f"cannot {'make or ' if make else ''}open the directory {path}", pointer=flag):
        if make:
            os.makedirs(path, 0o700, exist_ok=True)
        return posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)

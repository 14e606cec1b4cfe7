"""The directories for criu's images and log. Cold."""

from __future__ import annotations

import os
import posix

from ocipy.errors import reported_as

# A file with criu's images that names the standard streams the container had. runc uses the same name.
DESCRIPTORS = "descriptors.json"


def open_directory(path: str, flag: str, *, make: bool = False) -> int:
    """Return a descriptor of a directory for criu. Raises Error, whose pointer is the flag.

    make: if the directory is missing, make it, accessible to its owner only."""
    with reported_as(f"cannot {'make or ' if make else ''}open the directory {path}", pointer=flag):
        if make:
            os.makedirs(path, 0o700, exist_ok=True)
        return posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)

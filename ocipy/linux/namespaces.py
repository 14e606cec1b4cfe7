"""Whether the runtime itself is in the initial user namespace."""

from __future__ import annotations

import posix

from ocipy.linux.files import read_file
from ocipy.linux.text import words_of

# The inode of the initial user namespace: PROC_USER_INIT_INO of include/linux/proc_ns.h.
INITIAL = 0xEFFFFFFD
# /proc/self/uid_map of a process in the initial user namespace (user_namespaces(7)).
WHOLE_RANGE = [b"0", b"0", b"4294967295"]


def in_user_namespace() -> bool:
    """Whether the runtime is in a user namespace other than the initial one. Raises OSError."""
    try:
        if posix.stat("/proc/self/ns/user").st_ino == INITIAL:
            return False
    except FileNotFoundError:  # the kernel has no user namespaces
        pass
    return words_of(read_file("/proc/self/uid_map")) != WHOLE_RANGE

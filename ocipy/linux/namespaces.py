"""Which namespaces we are in ourselves."""

from __future__ import annotations

from ocipy.linux.files import read_file
from ocipy.linux.text import words_of

# What a process in the initial user namespace finds in /proc/self/uid_map (user_namespaces(7)).
WHOLE_RANGE = [b"0", b"0", b"4294967295"]


def in_user_namespace() -> bool:
    """The runtime is not in the initial user namespace."""
    return words_of(read_file("/proc/self/uid_map")) != WHOLE_RANGE

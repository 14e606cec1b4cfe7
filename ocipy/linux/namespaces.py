"""Whether the runtime itself is in the initial user namespace."""

from __future__ import annotations

from ocipy.linux.files import read_file
from ocipy.linux.text import words_of

# /proc/self/uid_map of a process in the initial user namespace (user_namespaces(7)).
WHOLE_RANGE = [b"0", b"0", b"4294967295"]


def in_user_namespace() -> bool:
    """Whether the runtime is in a user namespace other than the initial one. Raises OSError."""
    return words_of(read_file("/proc/self/uid_map")) != WHOLE_RANGE

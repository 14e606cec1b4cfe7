"""Text from the kernel, a process or an image. It is not trusted: it contains names that anybody may have chosen.

A line ends at a newline and nowhere else. str.splitlines() also splits at 0x1c to 0x1e, U+0085 and U+2028, and
str.split() treats these and others as blanks, so the name of a cgroup, a process or a file could forge a line or a
field. Also, a name need not be UTF-8. Pure; tests/unit/linux/test_text.py keeps those methods out of the package.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AnyStr


def decode(data: bytes) -> str:
    """Decode bytes so that `encode` can restore them: bytes that are not UTF-8 become surrogates (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The reverse of `decode`."""
    return text.encode("utf-8", "surrogateescape")


def shown(data: bytes) -> str:
    """Decode bytes for people to read: bytes that are not UTF-8 become U+FFFD."""
    return data.decode("utf-8", "replace")


def lines_of(text: AnyStr) -> list[AnyStr]:
    """Return the lines without their newlines; the last line need not have one."""
    found = text.split("\n" if isinstance(text, str) else b"\n")
    if not found[-1]:
        found.pop()
    return found


def words_of(text: AnyStr) -> list[AnyStr]:
    """Split at blanks, tabs and line ends, which separate the kernel's numbers and words."""
    if isinstance(text, str):
        return [word for word in text.replace("\n", " ").replace("\t", " ").split(" ") if word]
    return [word for word in text.replace(b"\n", b" ").replace(b"\t", b" ").split(b" ") if word]


def value_of(text: bytes, name: bytes) -> bytes:
    """Return the value from the first line "NAME: VALUE" with this name, as in /proc/PID/status and fdinfo; or b""."""
    for line in text.split(b"\n"):
        if line.startswith(name) and line[len(name) : len(name) + 1] == b":":
            return line[len(name) + 1 :].strip(b" \t")
    return b""


def stat_fields(stat: bytes) -> list[bytes]:
    """Return the fields of /proc/PID/stat from field 3, the state (proc_pid_stat(5)); field N is at index N - 3.

    Field 2, the name, may contain blanks, parentheses and newlines, but the last parenthesis closes it. Raises
    ValueError if there is none.
    """
    return stat[stat.rindex(b")") + 2 :].rstrip(b"\n").split(b" ")

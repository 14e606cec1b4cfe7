"""The resctrl filesystem: classes of service (CTRL_MON groups) and monitoring groups (kernel: filesystems/resctrl.rst).

A group is a directory; making one makes its files. Everything here takes paths, found by `find` or given.
"""

from __future__ import annotations

import posix

from ocipy.linux.constants import O_CLOEXEC, O_NOFOLLOW, O_WRONLY
from ocipy.linux.files import read_file
from ocipy.linux.text import lines_of, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS, SCHEMATA, MONITORING = "tasks", "schemata", "mon_groups"
# Resources whose values are numbers in decimal; those of all others are bit masks in hexadecimal.
DECIMAL = ("MB", "SMBA")
ESCAPES = ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\"))


def find(mountinfo: bytes) -> str:
    """Where a resctrl filesystem is mounted with its top, by /proc/PID/mountinfo (proc(5)); "" where none is."""
    for line in lines_of(mountinfo):
        left, separator, right = line.partition(b" - ")
        fields = left.split(b" ")
        if separator and right.startswith(b"resctrl ") and len(fields) > 4 and fields[3] == b"/":
            point = fields[4]
            for escape, character in ESCAPES:
                point = point.replace(escape, character)
            return point.decode("utf-8", "surrogateescape")
    return ""


def make_group(path: str) -> bool:
    """Make a group. False if it is there already. Raises OSError: ENOSPC where the hardware has no more."""
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        return False
    return True


def remove_group(path: str) -> None:
    """Remove a group: its tasks fall back to the one above. One that is gone is no error. Raises OSError."""
    try:
        posix.rmdir(path)
    except FileNotFoundError:
        pass


def is_group(path: str) -> bool:
    """Whether there is a class of service, or a monitoring group, of that path."""
    try:
        posix.stat(path + "/" + TASKS)
    except OSError:
        return False
    return True


def write(path: str, text: str) -> None:
    """Write a line into a file of a group, by one write. Raises OSError."""
    fd = posix.open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
    try:
        posix.write(fd, text.encode() + b"\n")
    finally:
        posix.close(fd)


def reason(top: str) -> str:
    """Why the last write was refused, as the kernel says it; "" if it has no words for it."""
    try:
        said = shown(read_file(top + "/info/last_cmd_status")).strip()
    except OSError:
        return ""
    return "" if said == "ok" else said


def values_of(schema: str) -> dict[str, int] | None:
    """The value of each domain of one line, such as "L3:0=7f0;1=1f"; None for a line that has another form."""
    resource, colon, rest = schema.strip().partition(":")
    found = {}
    for part in rest.split(";"):
        domain, _, value = part.partition("=")
        try:
            found[domain.strip()] = int(value.strip(), 10 if resource.partition("_")[0] in DECIMAL else 16)
        except ValueError:
            return None
    return found if colon else None


def line_of(schemata: bytes, resource: str) -> str:
    """The line of a resource, such as "L3", in the content of `schemata`, without blanks around; "" without one."""
    return next((line for name, line in _by_resource(schemata) if name == resource), "")


def _by_resource(schemata: bytes) -> Iterator[tuple[str, str]]:
    for line in lines_of(schemata):
        text = shown(line).strip()
        name, colon, _ = text.partition(":")
        if colon:
            yield name, text


def agrees(wanted: str, schemata: bytes) -> bool:
    """Whether the content of `schemata` has the values of a line already, for each domain that the line names."""
    there = values_of(line_of(schemata, wanted.strip().partition(":")[0]))
    values = values_of(wanted)
    return values is not None and there is not None and values.items() <= there.items()

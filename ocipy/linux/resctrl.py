"""The resctrl filesystem: classes of service (CTRL_MON groups) and monitoring groups (kernel: filesystems/resctrl.rst).

A group is a directory, in which the kernel makes the files. Paths of groups start with the one that `find` returns.
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
# Resources with decimal values. All others have hexadecimal bit masks.
DECIMAL = ("MB", "SMBA")
ESCAPES = ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\"))


def find(mountinfo: bytes) -> str:
    """Return where the root of a resctrl filesystem is mounted, given /proc/PID/mountinfo (proc(5)); "" if nowhere."""
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
    """Make a group. False if it already exists. Raises OSError: ENOSPC if the hardware supports no more."""
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        return False
    return True


def remove_group(path: str) -> None:
    """Remove a group; its tasks move to its parent. A missing group is not an error. Raises OSError."""
    try:
        posix.rmdir(path)
    except FileNotFoundError:
        pass


def is_group(path: str) -> bool:
    """Whether the path is a class of service or a monitoring group."""
    try:
        posix.stat(path + "/" + TASKS)
    except OSError:
        return False
    return True


def write(path: str, text: str) -> None:
    """Write a line into a file of a group, in one write. Raises OSError."""
    fd = posix.open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
    try:
        posix.write(fd, text.encode() + b"\n")
    finally:
        posix.close(fd)


def reason(top: str) -> str:
    """Return the kernel's reason for refusing the last write; "" if it gives none."""
    try:
        said = shown(read_file(top + "/info/last_cmd_status")).strip()
    except OSError:
        return ""
    return "" if said == "ok" else said


def values_of(schema: str) -> dict[str, int] | None:
    """Return the value for each domain in a line such as "L3:0=7f0;1=1f"; None if the line has another form."""
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
    """Return the line for a resource such as "L3" from the content of `schemata`, stripped of blanks; "" if missing."""
    return next((line for name, line in _by_resource(schemata) if name == resource), "")


def _by_resource(schemata: bytes) -> Iterator[tuple[str, str]]:
    for line in lines_of(schemata):
        text = shown(line).strip()
        name, colon, _ = text.partition(":")
        if colon:
            yield name, text


def agrees(wanted: str, schemata: bytes) -> bool:
    """Whether the content of `schemata` already has the wanted line's values, for each domain that the line names."""
    there = values_of(line_of(schemata, wanted.strip().partition(":")[0]))
    values = values_of(wanted)
    return values is not None and there is not None and values.items() <= there.items()

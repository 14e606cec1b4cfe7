"""ocipy list: the containers below the root directory."""

from __future__ import annotations

import posix
from errno import ENOENT

from ocipy import log
from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.main import write_stdout
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.files import read_file
from ocipy.operations.several import container_ids
from ocipy.state.state import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUMMARY = "list the containers"
USAGE = "[FLAGS]"
FLAGS: tuple[Flag, ...] = (
    Flag("format", "text", "how to print them", aliases=("f",), metavar="table|json", default="table"),
    Flag("quiet", "switch", "only the IDs", aliases=("q",)),
)

COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")
# runc's: people and scripts know the table.
CELL_WIDTH = 12
CELL_GAP = 3


def run(arguments: Arguments) -> int:
    """Print them, in the order of their IDs."""
    arguments.expect()
    output_format = arguments.text("format")
    if output_format not in ("table", "json"):
        raise Error(f"--format is table or json, not {output_format!r}")
    root, must_exist = arguments.root, bool(arguments.text("root"))
    if arguments.switch("quiet"):
        write_stdout("".join(f"{name}\n" for name in ids(root, must_exist=must_exist)))
        return 0
    found = containers(root, must_exist=must_exist)
    if output_format == "json":
        # runc's word for an empty list is null.
        write_stdout(_kernel.json_dumps(found or None).decode("utf-8", "surrogateescape") + "\n")
    else:
        write_stdout(table(found))
    return 0


def ids(root: str, *, must_exist: bool) -> list[str]:
    """Their ids. Raises Error where root is missing, if it must exist."""
    try:
        return container_ids(root)
    except OSError as error:
        if error.errno == ENOENT and not must_exist:
            return []
        raise Error("cannot list the containers", pointer=root, errno=error.errno or 0) from None


def containers(root: str, *, must_exist: bool) -> list[dict[str, Any]]:
    """The state of each container, with the name of its owner. Raises Error where root is missing, if it must exist."""
    found: list[dict[str, Any]] = []
    owners: dict[int, str] = {}
    for name in ids(root, must_exist=must_exist):
        try:
            state = load(root, name)
            found.append({**state.to_oci(), "owner": owner(posix.stat(state.directory).st_uid, owners)})
        except Error as error:
            log.warning(f"{name}: {error.line}")
        except OSError:
            continue
    return found


def owner(uid: int, known: dict[int, str]) -> str:
    """The name of a user, "#UID" without one. known: those that were looked up before."""
    name = known.get(uid)
    if name is None:
        name = known[uid] = _name_of(uid) or f"#{uid}"
    return name


def _name_of(uid: int) -> str:
    try:
        name = name_in(read_file("/etc/passwd"), uid)
    except OSError:
        name = ""
    if name:
        return name
    # A user of a directory service, perhaps; libc knows how to ask (nss(5)).
    from ocipy.launcher.python import complete_start

    complete_start()
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def name_in(passwd: bytes, uid: int) -> str:
    """The first name with this uid in the content of a passwd(5) file, "" if there is none."""
    number = str(uid).encode()
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 2 and fields[2] == number:
            return fields[0].decode("utf-8", "surrogateescape")
    return ""


def table(found: list[dict[str, Any]]) -> str:
    """The table, in runc's columns."""
    rows = [[name.upper() for name in COLUMNS], *([str(entry[name]) for name in COLUMNS] for entry in found)]
    widths = [max(CELL_WIDTH, *(len(row[column]) + CELL_GAP for row in rows)) for column in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join(cells) + row[-1] + "\n")
    return "".join(lines)

"""ocipy list: the containers in the root directory."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.output import write_stdout
from ocipy.linux import _kernel
from ocipy.operations.list import containers, ids

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
# runc's columns: people and scripts know the table.
CELL_WIDTH = 12
CELL_GAP = 3


def run(arguments: Arguments) -> int:
    """Print the containers, sorted by ID."""
    arguments.expect()
    output_format = arguments.text("format")
    root, must_exist = arguments.root, bool(arguments.text("root"))
    if arguments.switch("quiet"):
        write_stdout("".join(f"{name}\n" for name in ids(root, must_exist=must_exist)))
        return 0
    found = containers(root, must_exist=must_exist)
    if output_format == "json":
        # runc prints null for an empty list.
        write_stdout(_kernel.json_dumps(found or None).decode("utf-8", "surrogateescape") + "\n")
    else:
        write_stdout(table(found))
    return 0


def table(found: list[dict[str, Any]]) -> str:
    """The table, in runc's columns."""
    rows = [[name.upper() for name in COLUMNS], *([str(entry[name]) for name in COLUMNS] for entry in found)]
    widths = [max(CELL_WIDTH, *(len(row[column]) + CELL_GAP for row in rows)) for column in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join(cells) + row[-1] + "\n")
    return "".join(lines)

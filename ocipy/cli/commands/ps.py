"""ocipy ps: the processes of a container."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag, UsageError
from ocipy.cli.output import write_stdout
from ocipy.linux import _kernel
from ocipy.linux.text import decode
from ocipy.operations.processes import processes
from ocipy.state.state import load

SUMMARY = "list the processes of a container"
USAGE = "[FLAGS] ID [PS-OPTIONS …]"
FLAGS: tuple[Flag, ...] = (
    Flag("format", "text", "table from the host's ps, or pids", aliases=("f",), metavar="table|json", default="table"),
)
FLAGS_END_AT_ID = True


def run(arguments: Arguments) -> int:
    """Print their pids on the host, or the host's ps output for them."""
    if not arguments.positional:
        raise UsageError("the container's ID is missing")
    container_id, *options = arguments.positional
    output_format = arguments.text("format")
    pids = processes(load(arguments.root, container_id))
    if output_format == "json":
        # runc prints null for an empty list. Nothing goes to standard error: engines read both streams as one.
        write_stdout(decode(_kernel.json_dumps(pids or None)) + "\n")
        return 0
    from ocipy.operations.process_table import table

    write_stdout(table(pids, options or ["-ef"]))
    return 0

"""ocipy state: print the state of a container."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.output import write_stdout
from ocipy.linux import _kernel
from ocipy.state.state import load

SUMMARY = "print the state of a container"
USAGE = "ID"
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Print the state as JSON (spec: runtime.md, State)."""
    state = load(arguments.root, arguments.one("the container's ID"))
    write_stdout(_kernel.json_dumps(state.to_oci(), 2).decode("utf-8", "surrogateescape") + "\n")
    return 0

"""`ocipy setup`: make the snapshot that commands start from. Cold."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.output import write_stdout
from ocipy.operations.setup import setup

SUMMARY = "make the snapshot from which commands start fast"
USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Make it, and say where it is."""
    arguments.expect()
    write_stdout(setup() + "\n")
    return 0

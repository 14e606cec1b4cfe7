"""ocipy resume: let a paused container go on."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.operations.pause import resume

SUMMARY = "let the processes of a paused container go on"
USAGE = "ID"
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Thaw them."""
    resume(arguments.root, arguments.one("the container's ID"))
    return 0

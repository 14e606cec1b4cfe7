"""ocipy resume: thaw a paused container."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.operations.pause import resume

SUMMARY = "resume all processes of a paused container"
USAGE = "ID"
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Thaw all processes."""
    resume(arguments.root, arguments.one("the container's ID"))
    return 0

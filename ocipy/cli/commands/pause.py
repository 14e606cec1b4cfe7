"""ocipy pause: stop every process of a container, to go on later."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.operations.pause import pause

SUMMARY = "suspend all processes of a container"
USAGE = "ID"
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Returns once all of them are frozen."""
    pause(arguments.root, arguments.one("the container's ID"))
    return 0

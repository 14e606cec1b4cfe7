"""ocipy pause: freeze every process of a container."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.operations.pause import pause

SUMMARY = "suspend all processes of a container"
USAGE = "ID"
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Returns once all processes are frozen."""
    pause(arguments.root, arguments.one("the container's ID"))
    return 0

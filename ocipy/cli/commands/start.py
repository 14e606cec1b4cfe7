"""ocipy start: let a created container run its process."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.operations.start import start_container

SUMMARY = "run the process of a created container"
USAGE = "ID"
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Start the container; returns once its process has been executed and the poststart hooks have run."""
    start_container(arguments.root, arguments.one("the container's ID"))
    return 0

"""ocipy delete: remove a container."""

from __future__ import annotations

from ocipy.cli import Arguments, Flag
from ocipy.container.lifecycle import delete

SUMMARY = "remove a stopped container"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = (
    Flag("force", "switch", "kill it first if it is not stopped; no error if it does not exist", aliases=("f",)),
)


def run(arguments: Arguments) -> int:
    """Undo what create did."""
    delete(arguments.root, arguments.one("the container's ID"), arguments.switch("force"))
    return 0

"""ocipy delete: remove a container."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.operations.delete import delete

SUMMARY = "remove a stopped container"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = (
    Flag("force", "switch", "kill it first if it is not stopped; no error if it does not exist", aliases=("f",)),
    Flag("regex", "switch", "treat ID as a regular expression: delete every container that it matches", aliases=("r",)),
)


def run(arguments: Arguments) -> int:
    """Delete one container, or every match of --regex."""
    root, force = arguments.root, arguments.switch("force")
    container_id = arguments.one("the container's ID")
    if arguments.switch("regex"):
        from ocipy.operations.several import for_each

        for_each(root, container_id, lambda name: delete(root, name, force))
    else:
        delete(root, container_id, force)
    return 0

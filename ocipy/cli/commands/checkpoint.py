"""ocipy checkpoint: save a running container with criu. Cold."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.criu_flags import CHECKPOINT, flags_from
from ocipy.operations.checkpoint import checkpoint

SUMMARY = "save the state of a running container with criu"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = CHECKPOINT


def run(arguments: Arguments) -> int:
    """Write the images, then destroy the container, unless --leave-running or --pre-dump keeps it."""
    container_id = arguments.one("the container's ID")
    checkpoint(arguments.root, container_id, flags_from(arguments), arguments.text("criu"))
    return 0

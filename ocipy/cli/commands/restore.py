"""ocipy restore: make a container from the images of a checkpoint. Cold."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.criu_flags import RESTORE, flags_from
from ocipy.cli.options import BUNDLE_FLAGS, options_from
from ocipy.operations.restore import restore_container

SUMMARY = "make a container from the images of a checkpoint"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = (
    *(flag for flag in BUNDLE_FLAGS if flag.name != "pidfd-socket"),
    Flag("detach", "switch", "do not wait until the container ends", aliases=("d",)),
    Flag("no-subreaper", "switch", "do not adopt the container's orphaned processes"),
    *RESTORE,
)


def run(arguments: Arguments) -> int:
    """Returns the exit status of the container's process, 128 + the signal that killed it."""
    container_id = arguments.one("the container's ID")
    console_socket = arguments.text("console-socket")
    detach = arguments.switch("detach")
    return restore_container(
        arguments.root,
        options_from(arguments, container_id, has_console=bool(console_socket) or not detach),
        flags_from(arguments),
        criu_path=arguments.text("criu"),
        console_socket=console_socket,
        rootless=arguments.rootless,
        detach=detach,
        subreaper=not arguments.switch("no-subreaper"),
    )

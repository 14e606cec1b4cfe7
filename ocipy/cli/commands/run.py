"""ocipy run: create, start, wait and delete in one."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.options import BUNDLE_FLAGS, options_from
from ocipy.operations import run as operation

SUMMARY = "create and start a container, wait until it ends, and delete it"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = (
    *BUNDLE_FLAGS,
    Flag("detach", "switch", "do not wait until the container ends", aliases=("d",)),
    Flag("keep", "switch", "do not delete the container when it has ended"),
    Flag("no-subreaper", "switch", "do not adopt the container's orphaned processes"),
)


def run(arguments: Arguments) -> int:
    """Returns the exit status of the container's process, 128 + the signal that killed it."""
    console_socket = arguments.text("console-socket")
    detach = arguments.switch("detach")
    return operation.run(
        arguments.root,
        options_from(arguments, arguments.one("the container's ID"), has_console=bool(console_socket) or not detach),
        console_socket=console_socket,
        rootless=arguments.rootless,
        detach=detach,
        subreaper=not arguments.switch("no-subreaper"),
        keep=arguments.switch("keep"),
    )

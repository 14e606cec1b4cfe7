"""ocipy create: make a container whose process waits for start."""

from __future__ import annotations

import posix

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.options import BUNDLE_FLAGS, options_from
from ocipy.operations.create import create

SUMMARY = "create a container, which then waits for start"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = BUNDLE_FLAGS


def run(arguments: Arguments) -> int:
    """Create the container and exit; its init process stays."""
    container_id = arguments.one("the container's ID")
    console_socket = arguments.text("console-socket")
    options = options_from(arguments, container_id, has_console=bool(console_socket))
    _, lock_fd = create(
        arguments.root,
        options,
        console_socket=console_socket,
        rootless=arguments.rootless,
    )
    posix.close(lock_fd)
    return 0

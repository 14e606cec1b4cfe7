"""The table of commands. A hot one runs in Python's core phase; for a cold one Python's start is completed first."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ocipy.cli.arguments import Arguments, Flag

    class Command(Protocol):
        """A module of ocipy.cli.commands."""

        SUMMARY: str
        USAGE: str
        FLAGS: tuple[Flag, ...]

        def run(self, arguments: Arguments) -> int:
            """Return the exit status. Raises Error."""


HOT = ("create", "start", "state", "kill", "delete", "run", "exec", "pause", "resume", "ps", "update", "list")
COLD = ("checkpoint", "restore", "spec", "features", "events", "validate", "plan", "setup", "box")

# Cold commands that need no streams, fork handlers or modules in files: they do not wake a process.
QUIET = ("spec", "features", "validate", "plan", "checkpoint", "restore")

IMAGES = "engines handle images and call ocipy: podman --runtime=ocipy run IMAGE COMMAND"


def load_command(command: str) -> Command:
    """The module of a command."""
    name = "ocipy.cli.commands." + command
    __import__(name)
    return sys.modules[name]

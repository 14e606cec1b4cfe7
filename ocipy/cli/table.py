"""The commands that there are. A hot one runs in Python's core phase; the others have the start completed first."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOT = ("create", "start", "state", "kill", "delete", "run", "exec", "pause", "resume", "ps", "update", "list")
COLD = ("checkpoint", "restore", "spec", "features", "events", "validate", "plan", "box")

IMAGES = "images are an engine's job, which calls ocipy: podman --runtime=ocipy run IMAGE COMMAND"


def load_command(command: str) -> Any:
    """The module of a command."""
    name = "ocipy.cli.commands." + command
    __import__(name)
    return sys.modules[name]

"""Exit statuses that distinguish a box that could not run: docker-run(1)'s and podman-run(1)'s. Pure."""

from __future__ import annotations

from ocipy import Error

NOT_RUN = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127

# The runtime's errors about a command, in the words that engines match (init/lookup.py, init/process.py).
COMMAND = "/process/args/0: "
MISSING = ("executable file not found", "no such file or directory")


class OutOfMemory(Error):
    """The box ran, and the OOM killer killed some of it. The exit status is the box's own."""


def status_of(error: Error, otherwise: int = NOT_RUN) -> int:
    """127 if the command does not exist, 126 if it cannot be executed, otherwise the given status."""
    if COMMAND not in error.line:
        return otherwise
    return NOT_FOUND if any(words in error.line.lower() for words in MISSING) else NOT_EXECUTABLE

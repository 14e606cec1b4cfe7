"""Exit statuses that tell a box that could not run from one that ran: docker-run(1)'s and podman-run(1)'s. Pure."""

from __future__ import annotations

from ocipy import Error

NOT_RUN = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127

# What the runtime says of a command, in the words that engines look for (init/lookup.py, init/process.py).
COMMAND = "/process/args/0: "
MISSING = ("executable file not found", "no such file or directory")


class OutOfMemory(Error):
    """The box ran, and the kernel killed in it: the exit status is the box's own."""


def status_of(error: Error, otherwise: int = NOT_RUN) -> int:
    """127 where the command is not there, 126 where it cannot be executed, else what is said."""
    if COMMAND not in error.line:
        return otherwise
    return NOT_FOUND if any(words in error.line.lower() for words in MISSING) else NOT_EXECUTABLE

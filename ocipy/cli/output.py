"""The output of commands."""

from __future__ import annotations

import posix

from ocipy.errors import reported_as


def write_stdout(text: str) -> None:
    """Write all of a text to standard output. Raises Error if that fails; a closed pipe is not an error."""
    data = text.encode("utf-8", "surrogateescape")
    with reported_as("cannot write to standard output"):
        try:
            while data:
                data = data[posix.write(1, data) :]
        except BrokenPipeError:
            pass

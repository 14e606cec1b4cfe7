"""How the tests read text from the kernel, a container or a program: as untrusted bytes.

This is independent of ocipy's code for the same purpose, which is under test.
"""

from __future__ import annotations

import os
from pathlib import Path


def read(path: str | Path) -> str:
    """A whole file. Invalid UTF-8 becomes surrogates, which os.fsencode() turns back into the same bytes."""
    return os.fsdecode(Path(path).read_bytes())


def lines(text: str) -> list[str]:
    """The lines, split only at newlines: str.splitlines() also splits at ten others, which names may contain."""
    found = text.split("\n")
    return found[:-1] if not found[-1] else found


def shown(text: str) -> str:
    """The text for a message, with unprintable characters escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)

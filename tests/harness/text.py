"""Text of the kernel's, a container's or a program's, as the tests take it: bytes that anybody may have chosen.

Apart from ocipy's own way to do this, which is under test.
"""

from __future__ import annotations

import os
from pathlib import Path


def read(path: str | Path) -> str:
    """A whole file. What is not UTF-8 becomes surrogates, which os.fsencode() makes the same bytes again."""
    return os.fsdecode(Path(path).read_bytes())


def lines(text: str) -> list[str]:
    """The lines, which end at newlines alone: str.splitlines() knows ten more ends, which a name may hold."""
    found = text.split("\n")
    return found[:-1] if not found[-1] else found


def shown(text: str) -> str:
    """The text for a message: what cannot be printed is escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)

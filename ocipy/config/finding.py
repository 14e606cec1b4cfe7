"""What `validate` finds. A separate module: code that only looks at findings does not need the rest."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """severity: "error" or "warning". pointer: JSON pointer, or a file's path, or "". text: the end of a sentence."""

    severity: str
    pointer: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.pointer}: {self.text}" if self.pointer else f"{self.severity}: {self.text}"

"""What `validate` finds. A module of its own, since who only looks at findings needs none of the rest."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """severity: "error" or "warning". pointer: JSON pointer, or a file's path, or "". text: the end of a sentence."""

    severity: str
    pointer: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.pointer}: {self.text}" if self.pointer else f"{self.severity}: {self.text}"

"""Progress on long work: a bar on a terminal (rich), nothing anywhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from ocipy.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class Progress:
    """A context manager: a bar with a text. total: in any unit; 0 if unknown."""

    def __init__(self, text: str, total: int = 0) -> None:
        self._text = text
        self._total = total
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import Progress as Bars

            self._bars = Bars(console=Console(stderr=True), transient=True)
            self._bars.add_task(escape(printable(self._text)), total=self._total or None)
            self._bars.start()
        return self

    def advance(self, much: int) -> None:
        """Advance by an amount in the unit of `total`."""
        if self._bars is not None:
            self._bars.advance(self._bars.task_ids[0], much)

    def __exit__(self, *_exception: object) -> None:
        if self._bars is not None:
            self._bars.stop()

"""The faults that are planted: tests/mutants/*.toml, and what an entry must be."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent
TOP = FOLDER.parents[1]


class Fault(NamedTuple):
    """One fault, as the table has it.

    name: unique. file: from the top of the tree. text: occurs exactly once in it; instead: what is put in its place.
    tests: node ids of pytest, or files, of which at least one test must fail. why: what the fault would let happen.
    v2: the tests run where the v2 hierarchy is mounted alone (tests/systemd/run --unified).
    """

    name: str
    file: str
    text: str
    instead: str
    tests: Sequence[str]
    why: str
    v2: bool = False

    def problem(self, top: Path = TOP) -> str:
        """Why it cannot be planted in the tree, "" if it can."""
        path = top / self.file
        if not path.is_file():
            return f"{self.file} is not there"
        times = path.read_text().count(self.text)
        if times != 1:
            return f"its text occurs {times} times in {self.file}, not once"
        return "" if self.text != self.instead else "it changes nothing"

    @property
    def needs_build(self) -> bool:
        """The executable runs frozen modules, and C is compiled."""
        return not self.file.endswith(".py") or any("tests/integration" in test for test in self.tests)


def load() -> list[Fault]:
    """All faults, in the order of the files and in them."""
    return [
        Fault(**entry) for path in sorted(FOLDER.glob("*.toml")) for entry in tomllib.loads(path.read_text())["fault"]
    ]

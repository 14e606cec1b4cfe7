"""The faults to plant, from tests/mutants/*.toml, and the form of an entry."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent
TOP = FOLDER.parents[1]


class Fault(NamedTuple):
    """One entry of the table.

    name: unique. file: relative to the top of the tree. text: occurs exactly once in the file; instead: replaces it.
    tests: node ids of pytest, or files; at least one test must fail. why: the consequence of the fault.
    v2: the tests run with only the v2 hierarchy mounted (tests/systemd/run --unified).
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
            return f"{self.file} does not exist"
        times = path.read_text().count(self.text)
        if times != 1:
            return f"its text occurs {times} times in {self.file}, not once"
        return "" if self.text != self.instead else "it changes nothing"

    @property
    def needs_build(self) -> bool:
        """Whether a build must follow: the executable runs frozen modules, and C is compiled."""
        return not self.file.endswith(".py") or any("tests/integration" in test for test in self.tests)


def load() -> list[Fault]:
    """All faults, in the order of the files and of their entries."""
    return [
        Fault(**entry) for path in sorted(FOLDER.glob("*.toml")) for entry in tomllib.loads(path.read_text())["fault"]
    ]

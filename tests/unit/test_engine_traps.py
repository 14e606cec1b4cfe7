"""The table in tests/engines/README.md names existing tests."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_each_test_of_the_table_exists() -> None:
    names = re.findall(r"`((?:integration|engines)/[^`]+)`", (TESTS / "engines/README.md").read_text())
    assert len(names) > 40
    for name in names:
        file, _, function = name.partition("::")
        text = (TESTS / file).read_text()
        assert not function or re.search(rf"^\s*def {function}\(", text, re.MULTILINE), name


def test_each_trap_has_a_row() -> None:
    rows = re.findall(r"^\| (\d+) \|", (TESTS / "engines/README.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, 22))

"""The table of engines and features from two runs of the tests, side by side, and where ours falls short of runc.

python -m tests.engines.table OURS.json RUNC.json [--json BOTH.json]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

WORKS, FAILS, LEFT_OUT = "✓", "✗", "-"


class Row:
    """A feature of an engine. It works if no test failed and one passed; it is left out if all were skipped."""

    def __init__(self, engine: str, feature: str) -> None:
        self.engine, self.feature = engine, feature
        self.outcome = LEFT_OUT
        self.reasons: set[str] = set()

    def add(self, report: pytest.TestReport) -> None:
        """Add the report of a test's phase."""
        if report.failed or (report.skipped and hasattr(report, "wasxfail")):
            self.outcome = FAILS
            if hasattr(report, "wasxfail"):
                self.reasons.add(str(report.wasxfail))
        elif report.skipped and isinstance(report.longrepr, tuple):
            self.reasons.add(report.longrepr[2].removeprefix("Skipped: "))
        elif report.when == "call" and self.outcome != FAILS:
            self.outcome = WORKS

    def document(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "feature": self.feature,
            "outcome": self.outcome,
            "reasons": sorted(self.reasons),
        }


def merged(ours: dict[str, Any], theirs: dict[str, Any]) -> list[dict[str, Any]]:
    """Every row of either run: engine, feature, both outcomes, and the reason of a skip or failure."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for side, run in (("ours", ours), ("runc", theirs)):
        for row in run["rows"]:
            key = (row["engine"], row["feature"])
            empty = {"engine": key[0], "feature": key[1], "ours": LEFT_OUT, "runc": LEFT_OUT, "reasons": []}
            entry = table.setdefault(key, empty)
            entry[side] = row["outcome"]
            entry["reasons"] += [reason for reason in row["reasons"] if reason not in entry["reasons"]]
    return sorted(table.values(), key=lambda row: row["engine"])


def printed(table: list[dict[str, Any]], names: tuple[str, str]) -> str:
    """The table as text."""
    width = max(len(row["feature"]) for row in table) + 2
    lines = []
    engine = None
    for row in table:
        if row["engine"] != engine:
            engine = row["engine"]
            lines += ["", f"{engine:{width}}{names[0]:>14}{names[1]:>14}"]
        reasons = f"   {'; '.join(row['reasons'])}" if row["reasons"] else ""
        lines.append(f"  {row['feature']:{width - 2}}{row['ours']:>14}{row['runc']:>14}{reasons}")
    return "\n".join(lines)


def lacking(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The bad rows: ours fails, or is skipped while runc works."""
    return [row for row in table if row["ours"] == FAILS or (row["ours"] == LEFT_OUT and row["runc"] == WORKS)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ours", type=Path)
    parser.add_argument("runc", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    ours, theirs = (json.loads(file.read_text()) for file in (arguments.ours, arguments.runc))
    table = merged(ours, theirs)
    print(printed(table, (ours["runtime"], theirs["runtime"])))
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    bad = lacking(table)
    print(
        f"\n{len(table)} features; {sum(row['ours'] == WORKS for row in table)} work with {ours['runtime']}, ", end=""
    )
    print(f"{sum(row['runc'] == WORKS for row in table)} with {theirs['runtime']}")
    for row in bad:
        print(f"lacking: {row['engine']}: {row['feature']}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

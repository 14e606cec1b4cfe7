"""The ledger of the specification's requirements is complete, and its tests exist (spec/requirements.toml)."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import collected

TOP = Path(__file__).parents[2]
LEDGER: dict[str, list[dict[str, Any]]] = tomllib.loads((TOP / "spec/requirements.toml").read_text())
SPECIFICATION = TOP.parent / "shared/oci-runtime-spec-1.3.0"
"""Its text; next to the checkout, if someone has put it there."""

DOCUMENTS = ["spec", "glossary", "bundle", "runtime", "runtime-linux", "config", "config-linux", "features"]
DOCUMENTS += ["features-linux"]
STATUS = {"met", "caller", "refused", "open"}


@pytest.mark.parametrize("entry", LEDGER["requirement"], ids=lambda entry: f"{entry['document']}-{entry['lines'][0]}")
def test_an_entry_names_files_that_exist(entry: dict[str, Any]) -> None:
    assert set(entry) <= {"document", "lines", "level", "text", "status", "met", "tests", "suite", "note"}
    assert entry["level"] in ("MUST", "SHOULD")
    assert entry.get("status", "met") in STATUS
    for path in entry.get("met", []):
        assert (TOP / path).is_file(), path


@pytest.mark.parametrize("entry", LEDGER["requirement"], ids=lambda entry: f"{entry['document']}-{entry['lines'][0]}")
def test_an_entry_names_tests_that_pytest_finds(entry: dict[str, Any]) -> None:
    """A test, not a file: nobody can judge what a whole file shows about one line of the specification."""
    for test in entry.get("tests", []):
        assert "::" in test
        assert test in collected.tests(), f"there is no test {test}"


@pytest.mark.parametrize("entry", LEDGER["requirement"], ids=lambda entry: f"{entry['document']}-{entry['lines'][0]}")
def test_a_met_requirement_has_a_test_and_an_unmet_one_a_reason(entry: dict[str, Any]) -> None:
    if entry.get("status", "met") == "met":
        assert entry.get("tests") or entry.get("suite")
    else:
        assert entry.get("note")


def test_every_requirement_of_the_specification_is_there_once() -> None:
    if not SPECIFICATION.is_dir():
        pytest.skip(f"the text of the specification is not at {SPECIFICATION}")
    listed = Counter(
        (entry["document"], line) for entry in LEDGER["requirement"] + LEDGER["outside"] for line in entry["lines"]
    )
    demanded = set()
    for name in DOCUMENTS:
        text = (SPECIFICATION / f"{name}.md").read_text().splitlines()
        for number, line in enumerate(text, 1):
            if re.search(r"\b(MUST|SHOULD|SHALL|REQUIRED|RECOMMENDED)\b", line):
                demanded.add((f"{name}.md", number))
    assert sorted(demanded - set(listed)) == []
    options = {("config.md", number) for number in range(91, 156)}  # a table, of which some rows are MAY
    assert sorted(set(listed) - demanded - options) == []
    assert [place for place, times in listed.items() if times > 1] == []

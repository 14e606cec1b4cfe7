"""The table of faults for `make mutants` is up to date: each fault can be planted, and its tests exist."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests import collected
from tests.mutants.table import TOP, Fault, load

FAULTS = load()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault: Fault) -> None:
    """A change of a file's text must also change the fault, so it stays the same fault."""
    assert fault.problem() == ""
    assert fault.why and fault.tests


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_its_tests_are_there(fault: Fault) -> None:
    for test in fault.tests:
        assert test in collected.tests(), f"there is no test {test}"
        assert "5736" not in test, "it attacks the host's programs"


def test_names_are_unique() -> None:
    assert [name for name, times in Counter(fault.name for fault in FAULTS).items() if times > 1] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a", "2 times"), ("b", "changes nothing"), ("z", "0 times"), ("c", "")],
)
def test_a_fault_that_cannot_be_planted_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "file").write_text("a a b c")
    told = Fault("name", "file", text, "b", ["test"], "why").problem(tmp_path)
    assert problem in told if problem else told == ""


def test_a_missing_file_is_reported() -> None:
    assert "does not exist" in Fault("name", "ocipy/gone.py", "a", "b", ["test"], "why").problem(TOP)


@pytest.mark.parametrize(
    ("file", "test", "needed"),
    [
        ("ocipy/errors.py", "tests/unit/test_x.py", False),
        ("ocipy/errors.py", "tests/integration/test_x.py", True),
        ("ocipy/launcher/seal.c", "tests/unit/test_x.py", True),
    ],
)
def test_what_has_to_be_built(file: str, test: str, needed: bool) -> None:
    assert Fault("name", file, "a", "b", [test], "why").needs_build is needed

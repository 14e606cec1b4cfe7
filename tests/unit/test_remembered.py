"""Answers that the snapshot contains: they are those that would be computed, and only practice adds any."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ocipy.cli import practice
from ocipy.remembered import Remembered

practice.practise()
ALL: dict[str, Remembered[Any, Any]] = {
    f"{module}.{name}": value
    for module, loaded in sorted(sys.modules.items())
    if module.startswith("ocipy.")
    for name, value in vars(loaded).items()
    if isinstance(value, Remembered)
}


def members(answer: object) -> object:
    """What to compare of an answer whose class has no equality."""
    slots = getattr(answer, "__slots__", ())
    return {slot: getattr(answer, slot) for slot in slots} or answer


@pytest.mark.parametrize("name", ALL)
def test_what_is_remembered_is_what_would_be_computed(name: str) -> None:
    answers = ALL[name]
    assert answers, "practice does not ask for it"
    for argument, answer in answers.items():
        assert members(answers.compute(argument)) == members(answer)


def test_only_practice_adds_answers() -> None:
    lengths = Remembered(len)
    assert lengths["four"] == 4 and not lengths
    Remembered.learns = True
    try:
        assert lengths["four"] == 4
    finally:
        Remembered.learns = False
    assert lengths == {"four": 4}
    assert lengths["seven"] == 5 and lengths == {"four": 4}

"""The C extension tells whether a document obeys rules; tests/unit/config/test_check.py compares it with jsonschema."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.config.rules import ANY, ARRAY, BOOLEAN, ENUM, INTEGER, MAP, OBJECT, PATTERN, STRING
from ocipy.linux._kernel import obeys

OBJECT_RULE = (OBJECT, ("a",), {"a": (STRING,), "b": (OBJECT, (), {"c": (BOOLEAN,)})})

OBEYING: list[tuple[Any, tuple[Any, ...]]] = [
    ("", (STRING,)),
    (False, (BOOLEAN,)),
    (2**70, (INTEGER, None, None)),
    (-1, (INTEGER, -1, 2)),
    (2, (INTEGER, -1, 2)),
    ("x", (ENUM, ("y", "x"))),
    ("12", (PATTERN, str.isdigit, "a number")),
    ([], (ARRAY, (STRING,), 0)),
    (["x"], (ARRAY, (STRING,), 1)),
    ({}, (MAP, (STRING,))),
    ({"a": "x", "b": None}, (MAP, (STRING,))),
    ({"a": "x", "b": {"c": True}}, OBJECT_RULE),
    ({"a": "x", "b": None}, OBJECT_RULE),
    ([{"a": [1, None]}], (ANY,)),
]


class Text(str):
    """Not what the JSON reader makes."""


BREAKING: list[tuple[Any, tuple[Any, ...]]] = [
    (1, (STRING,)),
    (None, (STRING,)),
    (Text("x"), (STRING,)),
    (1, (BOOLEAN,)),
    (True, (INTEGER, None, None)),
    (1.0, (INTEGER, None, None)),
    (-2, (INTEGER, -1, 2)),
    (3, (INTEGER, -1, 2)),
    ("z", (ENUM, ("y", "x"))),
    (["x"], (ENUM, ("y", "x"))),
    ("1x", (PATTERN, str.isdigit, "a number")),
    (12, (PATTERN, str.isdigit, "a number")),
    ({}, (ARRAY, (STRING,), 0)),
    ([], (ARRAY, (STRING,), 1)),
    (["x", None], (ARRAY, (STRING,), 0)),
    ([], (MAP, (STRING,))),
    ({"a": 1}, (MAP, (STRING,))),
    ([], OBJECT_RULE),
    ({}, OBJECT_RULE),
    ({"a": None}, OBJECT_RULE),
    ({"a": "x", "b": {"c": 1}}, OBJECT_RULE),
]


@pytest.mark.parametrize(("value", "rule"), OBEYING)
def test_a_value_that_obeys(value: Any, rule: tuple[Any, ...]) -> None:
    unknown: list[Any] = []
    assert obeys(value, rule, unknown) is True
    assert unknown == []


@pytest.mark.parametrize(("value", "rule"), BREAKING)
def test_a_value_that_breaks_its_rule(value: Any, rule: tuple[Any, ...]) -> None:
    assert obeys(value, rule, []) is False


def test_members_without_a_rule_are_noted_with_their_object() -> None:
    inner = {"d": None, "c": True}
    outer = {"x": [1], "a": "x", "b": inner}
    unknown: list[Any] = []
    assert obeys([outer], (ARRAY, OBJECT_RULE, 0), unknown)
    assert unknown == [(outer, "x", OBJECT_RULE[2]), (inner, "d", {"c": (BOOLEAN,)})]
    assert unknown[0][0] is outer and unknown[1][0] is inner


def test_an_exception_of_a_predicate_is_raised() -> None:
    def refuse(_text: str) -> bool:
        raise LookupError("text")

    with pytest.raises(LookupError, match="text"):
        obeys({"a": ["x"]}, (MAP, (ARRAY, (PATTERN, refuse, ""), 0)), [])


def test_a_kind_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="kind of rule"):
        obeys(1, (ANY + 1,), [])


@pytest.mark.parametrize("arguments", [(1, [], []), (1, (ANY,), ()), (1, (ANY,))])
def test_arguments_of_the_wrong_type_are_an_error(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        obeys(*arguments)

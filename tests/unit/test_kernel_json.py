"""The JSON parser and writer of the C extension, beside the standard library's."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocipy.linux import _kernel

# Lone surrogates stand for bytes of file names that are not UTF-8; JSON has no form for them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
)


@given(VALUES)
def test_reads_what_the_standard_library_writes(value: Any) -> None:
    for ascii_only in (True, False):
        assert _kernel.json_loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(VALUES, st.sampled_from([0, 1, 2, 4]))
def test_the_standard_library_reads_what_is_written(value: Any, indent: int) -> None:
    assert json.loads(_kernel.json_dumps(value, indent)) == value


def test_layout_is_the_standard_librarys() -> None:
    value = {"a": [1, {"b": None}], "c": [], "d": {}, "e": True}
    assert _kernel.json_dumps(value).decode() == json.dumps(value, separators=(",", ":"))
    assert _kernel.json_dumps(value, indent=4).decode() == json.dumps(value, indent=4)


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**64), 10**40])
def test_integers_are_exact(number: int) -> None:
    got = _kernel.json_loads(str(number).encode())
    assert type(got) is int
    assert got == number


def test_of_equal_names_the_last_counts() -> None:
    assert _kernel.json_loads(b'{"a": 1, "b": 2, "a": {"c": 3}}') == {"a": {"c": 3}, "b": 2}


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b"", 0),
        (b"{", 1),
        (b'{"a" 1}', 5),
        (b"[1 2]", 3),
        (b"[01]", 1),
        (b'{"a": 1} x', 9),
        (b"[NaN]", 1),
        (b"[Infinity]", 1),
        (b"['a']", 1),
        (b"[1e999]", 1),
        (b'["\xff"]', 2),
        (b'["a\nb"]', 3),
        (b'["\\ud800"]', 8),
        (b"\xef\xbb\xbf[]", 0),
        (b"// no\n[]", 0),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(text: bytes, offset: int) -> None:
    with pytest.raises(ValueError) as caught:
        _kernel.json_loads(text)
    message, place = caught.value.args
    assert isinstance(message, str)
    assert place == offset


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()[:-1]))
def test_what_is_read_the_standard_library_reads_too(text: bytes) -> None:
    try:
        value = _kernel.json_loads(text)
    except ValueError as problem:
        assert 0 <= problem.args[1] <= len(text)
    else:
        assert json.loads(text) == value


def test_nesting_ends_somewhere() -> None:
    assert _kernel.json_loads(b"[" * 200 + b"]" * 200)
    with pytest.raises(ValueError, match="too deeply"):
        _kernel.json_loads(b"[" * 100_000 + b"]" * 100_000)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="too deeply"):
        _kernel.json_dumps(endless)


def test_undecodable_file_names_are_written_as_replacement_characters() -> None:
    assert _kernel.json_dumps(b"/a\xff".decode("utf-8", "surrogateescape")) == '"/a\ufffd"'.encode()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_lacks_are_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        _kernel.json_dumps([value])


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, {1}, object()])
def test_values_that_json_lacks_are_not_written(value: Any) -> None:
    with pytest.raises(TypeError, match="JSON"):
        _kernel.json_dumps(value)

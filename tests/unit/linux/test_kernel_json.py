"""The C extension's JSON parser and writer, compared with the standard library's."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocipy.linux import _kernel

# Without lone surrogates: they stand for bytes of file names that are not UTF-8, which JSON cannot represent.
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


def test_the_last_of_equal_names_counts() -> None:
    assert _kernel.json_loads(b'{"a": 1, "b": 2, "a": {"c": 3}}') == {"a": {"c": 3}, "b": 2}


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b"", 0),
        (b"{", 1),
        (b'{"a" 1}', 5),
        (b"[1 2]", 3),
        (b"[01]", 2),
        (b'{"a": 1} x', 9),
        (b"[NaN]", 1),
        (b"[Infinity]", 1),
        (b"['a']", 1),
        (b'["\xff"]', 2),
        (b'["a\nb"]', 3),
        (b'["\\ud800"]', 8),
        (b"\xef\xbb\xbf[]", 0),
        (b"// no\n[]", 0),
    ],
)
def test_invalid_json_is_refused_with_its_place(text: bytes, offset: int) -> None:
    with pytest.raises(ValueError) as caught:
        _kernel.json_loads(text)
    message, place = caught.value.args
    assert isinstance(message, str)
    assert place == offset


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()[:-1]))
def test_the_standard_library_reads_whatever_we_read(text: bytes) -> None:
    try:
        value = _kernel.json_loads(text)
    except ValueError as problem:
        assert 0 <= problem.args[1] <= len(text)
    else:
        assert json.loads(text) == value


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_nesting_does_not_use_the_stack(opening: bytes, closing: bytes) -> None:
    depth = 1_000_000
    text = opening * depth + b"1" + closing * depth
    assert _kernel.json_dumps(_kernel.json_loads(text)) == text


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="contains itself"):
        _kernel.json_dumps(endless)
    inner: dict[str, Any] = {"a": 1}
    inner["b"] = [[], {"c": inner}]
    with pytest.raises(ValueError, match="contains itself"):
        _kernel.json_dumps([[[[1], inner]]])


def test_a_value_that_occurs_twice_is_written_twice() -> None:
    shared: list[Any] = [[]]
    assert _kernel.json_dumps([shared, [shared, [shared, [[shared]]]]]) == b"[[[]],[[[]],[[[]],[[[[]]]]]]]"


def test_repeated_members_are_reported_with_their_places() -> None:
    repeated: list[tuple[str | int, ...]] = []
    text = b'{"a": 1, "b": [{"c": 1}, {"c": {}, "d": 2, "c": {"e": 1, "e": 2}}], "a": 2}'
    assert _kernel.json_loads(text, repeated) == {"a": 2, "b": [{"c": 1}, {"c": {"e": 2}, "d": 2}]}
    assert repeated == [("b", 1, "c"), ("b", 1, "c", "e"), ("a",)]


def test_very_many_or_very_deep_repetitions_are_not_reported() -> None:
    repeated: list[tuple[str | int, ...]] = []
    _kernel.json_loads(b"[" * 50 + b'{"a":1,"a":2}' + b"]" * 50, repeated)
    assert repeated == []
    _kernel.json_loads(b"{" + b'"a":1,' * 100_000 + b'"a":1}', repeated)
    assert len(repeated) == 1000


@pytest.mark.parametrize("text", ["1e999", "9" * 5000, "1" + "0" * 400 + ".5"])
def test_an_enormous_number_becomes_infinite_and_stays_infinite(text: str) -> None:
    for sign, value in (("", math.inf), ("-", -math.inf)):
        got = _kernel.json_loads((sign + text).encode())
        assert got == value
        assert _kernel.json_loads(_kernel.json_dumps([got])) == [value]


def test_undecodable_file_names_are_written_as_replacement_characters() -> None:
    assert _kernel.json_dumps(b"/a\xff".decode("utf-8", "surrogateescape")) == '"/a\ufffd"'.encode()


def test_nan_is_not_written() -> None:
    with pytest.raises(ValueError, match="cannot represent NaN"):
        _kernel.json_dumps([math.nan])


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, {1}, object()])
def test_values_that_json_lacks_are_not_written(value: Any) -> None:
    with pytest.raises(TypeError, match="JSON"):
        _kernel.json_dumps(value)

"""The C extension's JSON reader accepts the same documents as the standard library, with the same values."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocipy.linux import _kernel

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
EDGES = [2**31, 2**32, 2**53, 2**63, 2**64, 10**19, 10**30]
# So few names that some are repeated.
NAMES = st.sampled_from(["a", "b", "é", "\\u0061", "\\ud83d\\ude00", ""])
# What a mutation inserts: pieces of JSON, and what parsers accept by mistake.
PIECES = [
    *(b'"', b"\\", b"\\u", b"\\ud800", b"\\udc00", b"\\u0000", b"{", b"}", b"[", b"]", b",", b":", b'"a":1,'),
    *(b"0", b"1", b"-", b"+", b".", b"e", b"9" * 30, b"null", b"tru", b"NaN", b"Infinity", b"//", b"/**/", b"'"),
    *(b" ", b"\n", b"\0", b"\v", b"\f", b"\x1f", b"\x7f", b"\xa0", b"\xe2\x80\xa8", b"\xef\xbb\xbf"),
    *(b"\xff", b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3", b"\xf0\x9f\x98\x80"),
]


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=5).map(lambda texts: "[" + ",".join(texts) + "]")


def dicts(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(NAMES, values), max_size=5)
    return members.map(lambda pairs: "{" + ", ".join(f'"{name}" : {value}' for name, value in pairs) + "}")


STRINGS = st.text(st.characters(exclude_categories=["Cs"])).map(json.dumps) | NAMES.map(lambda name: f'"{name}"')
DOCUMENTS = st.recursive(
    st.sampled_from(["null", "true", "false"]) | NUMBERS | STRINGS, lambda values: lists(values) | dicts(values)
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A document with one to three bytes or pieces inserted, removed or replaced."""
    text = draw(DOCUMENTS).encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 0, 1, 2]))
        text = text[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=1)) + text[end:]
    return text


def check_pairs(value: Any) -> None:
    """Raise ValueError for half of a surrogate pair, also in nested lists. The standard library permits it."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for element in value:
            check_pairs(element)


def expect(data: bytes) -> tuple[Any, int]:
    """The value that the standard library reads from strict JSON, and how many members are repeated. ValueError."""
    repeated = 0

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(pairs)
        repeated += len(pairs) - len(found)
        check_pairs([part for pair in pairs for part in pair])
        return found

    def constant(name: str) -> NoReturn:
        raise ValueError(name)

    value = json.loads(data.decode(), parse_constant=constant, object_pairs_hook=members)
    check_pairs(value)
    return value, repeated


def compare(data: bytes) -> None:
    repeated: list[tuple[str | int, ...]] = []
    try:
        value, number = expect(data)
    except ValueError:
        with pytest.raises(ValueError) as caught:
            _kernel.json_loads(data, repeated)
        reason, offset = caught.value.args
        assert isinstance(reason, str)
        assert 0 <= offset <= len(data)
    else:
        got = _kernel.json_loads(data, repeated)
        assert repr(got) == repr(value)  # including types, the order of members and the sign of zero
        assert len(repeated) == number


@given(DOCUMENTS)
def test_documents(text: str) -> None:
    compare(text.encode())


@settings(max_examples=500)
@given(mutated())
@example(b'[1]"')
@example(b'1"')
@example(b'{}"a')
@example(b"[\v1]")
@example(b"[1]\f")
@example(b'["\\ud800"]')
@example(b'["\\udc00"]')
@example(b'["\\ud800\\u0041"]')
@example(b'["\\ud83d\\\\ude00"]')
@example(b'["\xed\xa0\x80"]')
@example(b'["\xc0\x80"]')
@example(b'["\xf4\x90\x80\x80"]')
@example(b'{"\\udc00":1}')
@example(b"[]\0")
def test_mutated_documents(data: bytes) -> None:
    compare(data)


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    compare(data)


@given(NUMBERS)
@example("-0")
@example("-0.0")
@example("0e0")
@example("5e-324")
@example("2.4703282292062327e-324")
@example("1.7976931348623157e308")
@example("1.7976931348623159e308")
@example("9007199254740993.0")
@example("1" * 1000)
@example("0." + "1" * 2000)
def test_numbers(text: str) -> None:
    compare(text.encode())


@pytest.mark.parametrize("edge", EDGES)
def test_integers_at_the_edges(edge: int) -> None:
    for number in range(edge - 2, edge + 3):
        compare(f"[{number},-{number}]".encode())


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b'{"a":1}"', 7),
        (b'1 "', 2),
        (b"[1,\v2]", 3),
        (b'["a"]\f', 5),
        (b'["\\ud800\\u0041"]', 8),
        (b'{"a": "x\\udc00"}', 8),
        (b'["\xc3\xa4\xed\xa0\x80"]', 4),
        (b'["\\n\xff"]', 4),
        (b'{"a": tru}', 9),
        (b"[1,]", 3),
        (b"[1,,2]", 3),
        (b'{"a":: 1}', 5),
        (b'{"a":1,}', 7),
        (b'{"a" "b"}', 5),
        (b'{"a": 1 "b": 2}', 8),
        (b'[1 "abc"]', 3),
        (b"[1 234]", 3),
        (b"{1: 2}", 1),
        (b"[1.]", 3),
        (b"[-]", 2),
        (b'["\\x"]', 3),
        (b'{"a": [1, 2', 11),
        (b'["abc', 5),
        (b'",', 2),
        (b" ", 1),
        (b"[" * 100_000 + b"x", 100_000),
        (b'{"a":' * 100_000 + b"}", 500_000),
    ],
)
def test_the_place_of_a_fault(data: bytes, offset: int) -> None:
    with pytest.raises(ValueError) as caught:
        _kernel.json_loads(data)
    assert caught.value.args[1] == offset


def test_the_first_of_several_faults_is_reported() -> None:
    for data, offset in ((b'[1 2, "\\ud800"]', 3), (b'["\\ud800", 1 2]', 8), (b'["\xff" "\v"]', 2), (b"[\v1 2]", 1)):
        with pytest.raises(ValueError) as caught:
            _kernel.json_loads(data)
        assert caught.value.args[1] == offset


def test_deep_nesting_of_lists_in_dicts() -> None:
    depth = 100_000
    repeated: list[tuple[str | int, ...]] = []
    value = _kernel.json_loads(b'{"a":0,"a":[1,' * depth + b"2" + b"]}" * depth, repeated)
    for _ in range(depth):
        assert list(value) == ["a"]
        assert len(value["a"]) == 2
        value = value["a"][1]
    assert value == 2
    assert repeated[:2] == [("a",), ("a", 1, "a")]
    assert len(repeated) == 16  # deeper than any known member, the rest is ignored


@pytest.mark.parametrize("wrong", ["a\nb", "\x7f", "\u2028", "\U0001f600", '"\\/'])
def test_characters_in_names_and_strings(wrong: str) -> None:
    compare(json.dumps({wrong: wrong}).encode())
    compare(json.dumps({wrong: wrong}, ensure_ascii=False).encode())
    compare(f'{{"{wrong}": "{wrong}"}}'.encode())

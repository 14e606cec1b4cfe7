"""GVariant's text form, as used in annotations."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.systemd.gvariant import parse, split


@pytest.mark.parametrize(
    ("text", "signature", "value"),
    [
        ("true", "b", True),
        (" false ", "b", False),
        ("boolean true", "b", True),
        ("15", "i", 15),
        ("-3", "i", -3),
        ("0x1F", "i", 31),
        ("010", "i", 8),
        ("0", "i", 0),
        ("uint64 10000000", "t", 10_000_000),
        ("uint64 18446744073709551615", "t", 2**64 - 1),
        ("int64 -9223372036854775808", "x", -(2**63)),
        ("byte 234", "y", 234),
        ("int16 -1", "n", -1),
        ("uint16 65535", "q", 65535),
        ("uint32 1", "u", 1),
        ("1.5", "d", 1.5),
        ("double 3", "d", 3.0),
        ("1e3", "d", 1000.0),
        ("'inactive-or-failed'", "s", "inactive-or-failed"),
        ('"it\'s"', "s", "it's"),
        (r"'it\'s'", "s", "it's"),
        (r"'a\nbA\U0001F600\\'", "s", "a\nbA\U0001f600\\"),
        ("objectpath '/a'", "o", "/a"),
        ("['a', \"b\"]", "as", ["a", "b"]),
        ("[uint32 1, 2]", "au", [1, 2]),
        ("@as []", "as", []),
        ("@a(ss) []", "a(ss)", []),
        ("[('/dev/null', 'rwm'), ('char-pts', 'rw')]", "a(ss)", [("/dev/null", "rwm"), ("char-pts", "rw")]),
        ("@t 5", "t", 5),
        ("(1,)", "(i)", (1,)),
        ("('a', uint64 2)", "(st)", ("a", 2)),
        ("[[1], [2, 3]]", "aai", [[1], [2, 3]]),
    ],
)
def test_values(text: str, signature: str, value: Any) -> None:
    assert parse(text) == (signature, value)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "uint64", "uint64 'a'", "'a", '"a', r"'\uZZZZ'", "inactive", "1 sec", "[]", "[1, 'a']", "[1", "[1 2]",
        "(", "()", "(1", "99999999999", "byte 256", "uint32 -1", "int32 true", "boolean 1", "string 1", "@", "@s 1",
        "@as ['a', 1]", "@(ss) ('a',)", "{'a': 1}", "nothing", "just 1", "<1>", "1.2.3", "0x", "--1", "1_000", "09",
        "true false", "@as", "[,]", "double 'a'", "0b1",
    ],
)  # fmt: skip
def test_invalid_values(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "(" * 5000, "uint32 " * 5000 + "1", "@u " * 5000 + "1"])
def test_a_value_nested_deeper_than_d_bus_allows(text: str) -> None:
    with pytest.raises(ValueError, match="nested more than 64 levels deep"):
        parse(text)


def test_a_signature_is_split_into_its_types() -> None:
    assert split("sa(ss)u") == ["s", "a(ss)", "u"]
    assert split("aas(s(ti))") == ["aas", "(s(ti))"]
    assert split("") == []

"""The encoding of criu's messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocipy.criu import messages
from ocipy.criu.messages import OPTIONS, REQUEST, RESPONSE, decode, encode

# Made by criu's Python bindings: pycriu.rpc.criu_req(…).SerializeToString().
REQUEST_OF_CRIU = bytes.fromhex(
    "0801122a080510ffffffffffffffffff0118015a080a033a3a3110ac02aa020a6d6e745b2f615d3a2f62aa020178"
)


def test_a_request_is_what_criu_itself_would_send() -> None:
    options = {
        "images_dir_fd": 5,
        "pid": -1,
        "leave_running": True,
        "ps": {"address": "::1", "port": 300},
        "external": ["mnt[/a]:/b", "x"],
    }
    assert encode(REQUEST, {"type": messages.DUMP, "opts": options}) == REQUEST_OF_CRIU


def test_a_request_is_read_back() -> None:
    assert decode(REQUEST, REQUEST_OF_CRIU) == {
        "type": 1,
        "opts": {
            "images_dir_fd": 5,
            "pid": -1,
            "leave_running": True,
            "ps": {"address": "::1", "port": 300},
            "external": "x",
        },
    }


def test_unknown_fields_are_skipped() -> None:
    unknown = bytes.fromhex("f8010ad2010361626391020102030405060708ed0201020304")
    assert decode(RESPONSE, b"\x08\x01" + unknown + b"\x10\x01") == {"type": 1, "success": True}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x08", id="no value"),
        pytest.param(b"\x08\xff", id="half a number"),
        pytest.param(b"\x08" + b"\xff" * 11, id="endless number"),
        pytest.param(b"\x22\x05\x08\x01", id="shorter than it says"),
        pytest.param(b"\x0b", id="a group"),
        pytest.param(b"\x0a\x01a", id="bytes for a number"),
        pytest.param(b"\x20\x01", id="a number for a message"),
    ],
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(RESPONSE, data)


@given(st.binary(max_size=64))
def test_any_bytes_raise_only_value_error(data: bytes) -> None:
    try:
        decode(RESPONSE, data)
    except ValueError:
        pass


INT = st.integers(-(1 << 31), (1 << 31) - 1)
TEXT = st.text(st.characters(codec="utf-8"))


def values(fields: messages.Fields) -> st.SearchStrategy[dict[str, Any]]:
    kinds: dict[str, st.SearchStrategy[Any]] = {"int": INT, "bool": st.booleans(), "text": TEXT}
    members = {
        name: kinds[field.kind] if isinstance(field.kind, str) else values(field.kind) for name, field in fields.items()
    }
    return st.fixed_dictionaries({}, optional=members)


@given(values(OPTIONS))
def test_every_option_is_read_back(options: dict[str, Any]) -> None:
    assert decode(OPTIONS, encode(OPTIONS, options)) == options


def test_a_list_becomes_a_repeated_field() -> None:
    one, other = encode(OPTIONS, {"external": "a"}), encode(OPTIONS, {"external": "b"})
    assert encode(OPTIONS, {"external": ["a", "b"]}) == one + other
    assert encode(OPTIONS, {"external": []}) == b""


def test_no_number_is_used_twice() -> None:
    def check(fields: messages.Fields) -> None:
        numbers = [field.number for field in fields.values()]
        assert len(set(numbers)) == len(numbers)
        for field in fields.values():
            if not isinstance(field.kind, str):
                check(field.kind)

    check(REQUEST)
    check(RESPONSE)

"""D-Bus messages, compared with those of another implementation: jeepney."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jeepney import DBusAddress, Endianness, Message, Parser, new_error, new_method_call, new_method_return, new_signal

from ocipy.systemd import dbus
from ocipy.systemd.gvariant import split

TARGET = ("/org/x", "org.x.Y", "org.x.Y.Z")
ADDRESS = DBusAddress(TARGET[0], TARGET[1], TARGET[2])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
LEAVES = {
    "y": st.integers(0, 255), "b": st.booleans(),
    "n": st.integers(-(1 << 15), (1 << 15) - 1), "q": st.integers(0, 65535),
    "i": st.integers(-(1 << 31), (1 << 31) - 1), "u": st.integers(0, (1 << 32) - 1),
    "x": st.integers(-(1 << 63), (1 << 63) - 1), "t": st.integers(0, (1 << 64) - 1), "s": TEXTS,
}  # fmt: skip
SIGNATURES = st.recursive(
    st.sampled_from(sorted(LEAVES)),
    lambda inner: (
        inner.map(lambda one: "a" + one)
        | st.lists(inner, min_size=1, max_size=3).map(lambda all_: f"({''.join(all_)})")
    ),
    max_leaves=6,
)


def values_of(signature: str) -> st.SearchStrategy[Any]:
    if signature in LEAVES:
        return LEAVES[signature]
    if signature[0] == "a":
        return st.lists(values_of(signature[1:]), max_size=3)
    return st.tuples(*map(values_of, split(signature[1:-1])))


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, tuple[Any, ...]]:
    parts = draw(st.lists(SIGNATURES, max_size=4))
    return "".join(parts), tuple(draw(values_of(part)) for part in parts)


def plain(value: Any) -> Any:
    """jeepney gives arrays of bytes as bytes."""
    if isinstance(value, bytes):
        return list(value)
    return type(value)(map(plain, value)) if isinstance(value, list | tuple) else value


def parsed(data: bytes) -> Message:
    parser = Parser()
    parser.add_data(data)
    message = parser.get_next_message()
    assert message is not None
    return message


@given(bodies())
@settings(max_examples=200, deadline=None)
def test_jeepney_reads_what_we_write(body: tuple[str, tuple[Any, ...]]) -> None:
    signature, values = body
    message = parsed(dbus.call(7, TARGET, "Do", signature, values))
    assert plain(message.body) == values
    assert message.header.serial == 7
    wanted = new_method_call(ADDRESS, "Do", signature or None, values).header
    assert {int(key): value for key, value in message.header.fields.items()} == {
        int(key): value for key, value in wanted.fields.items()
    }


@given(bodies(), st.sampled_from(Endianness), st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_we_read_what_jeepney_writes(body: tuple[str, tuple[Any, ...]], order: Endianness, rest: bytes) -> None:
    signature, values = body
    signal = new_signal(ADDRESS, "Done", signature or None, _as_written(signature, values))
    signal.header.endianness = order
    data = signal.serialise(serial=9)
    assert dbus.size_of(data + rest) == len(data)
    message = dbus.read(data)
    assert (message.kind, message.body) == (dbus.SIGNAL, values)
    assert message.fields[dbus.MEMBER] == "Done"
    assert all(dbus.size_of(data[:length]) is None for length in range(0, len(data), 7))


def _as_written(signature: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_bytes(part, value) for part, value in zip(split(signature), values, strict=True))


def _bytes(signature: str, value: Any) -> Any:
    """jeepney wants arrays of bytes as bytes."""
    if signature == "ay":
        return bytes(value)
    if signature[0] == "a":
        return [_bytes(signature[1:], one) for one in value]
    if signature[0] == "(":
        return _as_written(signature[1:-1], value)
    return value


def test_variants_and_dictionaries() -> None:
    properties = [("A", ("s", "x")), ("B", ("a(ss)", [("1", "2")])), ("C", ("ay", b"\7"))]
    data = dbus.call(1, TARGET, "Set", "sba(sv)", ("unit", True, properties))
    assert parsed(data).body == ("unit", True, properties)
    told = new_signal(ADDRESS, "Changed", "a{sv}", ({"a": ("u", 1), "b": ("v", ("s", "x"))},)).serialise(serial=1)
    assert dbus.read(told).body == ([("a", 1), ("b", "x")],)


def test_answers() -> None:
    call = parsed(dbus.call(5, TARGET, "Get"))
    for made, kind, name in (
        (new_method_return(call, "s", ("yes",)), dbus.RETURN, None),
        (new_error(call, "org.x.No", "s", ("no",)), dbus.ERROR, "org.x.No"),
    ):
        message = dbus.read(made.serialise(serial=3))
        fields = message.fields
        assert (message.kind, fields[dbus.REPLY_SERIAL], fields.get(dbus.ERROR_NAME)) == (kind, 5, name)


@pytest.mark.parametrize("signature", ["d", "h", "ad", "z", "(d)"])
def test_types_that_systemd_does_not_use(signature: str) -> None:
    value: Any = [1] if signature[0] in "a(" else 1
    with pytest.raises(ValueError, match="the type"):
        dbus.call(1, TARGET, "Do", signature, (value,))


@given(st.binary(max_size=200))
@example(b"\x08\x01t\x00\x00\x00\x00\x00\x00")  # a signature that is a number
@settings(max_examples=500, deadline=None)
def test_nonsense_raises_only_value_error(data: bytes) -> None:
    begin = b"l\2\0\1" + len(data).to_bytes(4, "little") + b"\1\0\0\0"
    for whole in (data, begin + len(data).to_bytes(4, "little") + data + bytes(300), begin + bytes(4) + data):
        try:
            size = dbus.size_of(whole)
            if size is not None:
                assert isinstance(dbus.read(whole[:size]).body, tuple)
        except ValueError:
            pass

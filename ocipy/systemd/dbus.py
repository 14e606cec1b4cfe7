"""Encode and decode D-Bus messages (D-Bus specification, "Type System", "Message Protocol"). Pure.

Covers only what systemd's interface uses: no doubles and no descriptors. Writes little endian, reads either.
"""

from __future__ import annotations

from ocipy.systemd.gvariant import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = 1, 2, 3, 4, 5, 6, 7, 8
LITTLE = ord("l")
VERSION = 1
HEADER_SIZE = 16  # up to and including the length of the array of fields
LARGEST = 1 << 27
DEEPEST = 32  # nested containers

SIZES = {"y": 1, "b": 4, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8}
SIGNED = "nix"
ALIGNMENTS = {**SIZES, "s": 4, "o": 4, "g": 1, "a": 4, "(": 8, "{": 8, "v": 1}


class Message:
    """A parsed message. fields: the header's fields, by number."""

    __slots__ = ("_body", "_order", "fields", "kind")

    def __init__(self, kind: int, fields: dict[int, Any], body: bytes, order: Literal["little", "big"]) -> None:
        self.kind = kind
        self.fields = fields
        self._body = body
        self._order = order

    @property
    def body(self) -> tuple[Any, ...]:
        """Return the body's values; for a variant, its value without the signature. Raises ValueError."""
        reader = _Reader(self._body, self._order)
        signature = self.fields.get(SIGNATURE, "")
        if not isinstance(signature, str):
            raise ValueError("the header's signature is not text")
        return tuple(reader.read(part) for part in split(signature))


def call(
    serial: int, target: tuple[str, str, str], member: str, signature: str = "", values: Iterable[Any] = ()
) -> bytes:
    """Encode a call. target: path, destination, interface. A variant is (signature, value). Raises ValueError."""
    body = bytearray()
    for part, value in zip(split(signature), values, strict=True):
        _write(body, part, value)
    path, destination, interface = target
    fields = [
        (PATH, ("o", path)),
        (DESTINATION, ("s", destination)),
        (INTERFACE, ("s", interface)),
        (MEMBER, ("s", member)),
    ]
    if signature:
        fields.append((SIGNATURE, ("g", signature)))
    out = bytearray((LITTLE, CALL, 0, VERSION))
    _write(out, "u", len(body))
    _write(out, "u", serial)
    _write(out, "a(yv)", fields)
    _pad(out, 8)
    return bytes(out + body)


def _pad(out: bytearray, alignment: int) -> None:
    out += bytes(-len(out) % alignment)


def _write(out: bytearray, signature: str, value: Any) -> None:
    """Append one value of a complete type."""
    kind = signature[0]
    if kind not in ALIGNMENTS:
        raise ValueError(f"systemd does not use the type {kind}")
    _pad(out, ALIGNMENTS[kind])
    size = SIZES.get(kind)
    if size is not None:
        out += int(value).to_bytes(size, "little", signed=kind in SIGNED)
    elif kind in "sog":
        data = text(value).encode("utf-8", "replace")
        out += len(data).to_bytes(1 if kind == "g" else 4, "little") + data + b"\0"
    elif kind == "v":
        _write(out, "g", value[0])
        _write(out, value[0], value[1])
    elif kind == "a":
        _write_array(out, signature[1:], value)
    else:
        for part, member in zip(split(signature[1:-1]), value, strict=True):
            _write(out, part, member)


def _write_array(out: bytearray, inner: str, values: Iterable[Any]) -> None:
    place = len(out)
    out += bytes(4)
    _pad(out, ALIGNMENTS.get(inner[0], 1))
    begin = len(out)
    for value in values:
        _write(out, inner, value)
    out[place : place + 4] = (len(out) - begin).to_bytes(4, "little")


def text(value: str) -> str:
    """Return the text as it can be sent: what is not UTF-8 is replaced. Raises ValueError if it contains NUL."""
    if "\0" in value:
        raise ValueError("text for systemd cannot contain NUL")
    return value.encode("utf-8", "replace").decode("utf-8", "replace")


def size_of(data: bytes) -> int | None:
    """Return the size of the first message; None if it is incomplete. Raises ValueError if it is malformed."""
    if len(data) < HEADER_SIZE:
        return None
    order = _order_of(data)
    size = _begin_of_body(data, order) + int.from_bytes(data[4:8], order)
    if size > LARGEST:
        raise ValueError("a message is too large")
    return size if len(data) >= size else None


def kind_of(data: bytes) -> int:
    """Return CALL, RETURN, ERROR or SIGNAL."""
    return data[1]


def read(data: bytes) -> Message:
    """Parse a whole message. Raises ValueError if it is malformed."""
    order = _order_of(data)
    begin = _begin_of_body(data, order)
    fields = dict(_Reader(data[:begin], order, HEADER_SIZE - 4).read("a(yv)"))
    return Message(kind_of(data), fields, data[begin:], order)


def _order_of(data: bytes) -> Literal["little", "big"]:
    return "little" if data[0] == LITTLE else "big"


def _begin_of_body(data: bytes, order: Literal["little", "big"]) -> int:
    end_of_fields = HEADER_SIZE + int.from_bytes(data[12:16], order)
    return end_of_fields + -end_of_fields % 8


class _Reader:
    __slots__ = ("_at", "_data", "_depth", "_order")

    def __init__(self, data: bytes, order: Literal["little", "big"], at: int = 0) -> None:
        self._data = data
        self._order = order
        self._at = at
        self._depth = 0

    def read(self, signature: str) -> Any:
        """Read the next value. signature: of one complete type."""
        kind = signature[0]
        if kind not in ALIGNMENTS:
            raise ValueError(f"unexpected type {kind}")
        self._at += -self._at % ALIGNMENTS[kind]
        size = SIZES.get(kind)
        if size is not None:
            number = int.from_bytes(self._take(size), self._order, signed=kind in SIGNED)
            return bool(number) if kind == "b" else number
        if kind in "sog":
            data = self._take(self.read("y" if kind == "g" else "u"))
            self._at += 1
            return data.decode("utf-8", "surrogateescape")
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError("too many nested containers")
        value = self._read_container(kind, signature)
        self._depth -= 1
        return value

    def _read_container(self, kind: str, signature: str) -> Any:
        if kind == "v":
            (inner,) = split(self.read("g"))
            return self.read(inner)
        if kind != "a":
            return tuple(self.read(part) for part in split(signature[1:-1]))
        inner = signature[1:]
        size = self.read("u")
        self._at += -self._at % ALIGNMENTS.get(inner[0], 1)
        end = self._at + size
        if end > len(self._data):
            raise ValueError("an array is longer than its message")
        values = []
        while self._at < end:
            values.append(self.read(inner))
        return values

    def _take(self, size: int) -> bytes:
        begin = self._at
        self._at += size
        if self._at > len(self._data):
            raise ValueError("a value is longer than its message")
        return self._data[begin : self._at]

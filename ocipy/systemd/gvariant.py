"""Convert GVariant's text form (GLib manual, "GVariant Text Format") to a D-Bus signature and a value. Pure.

Engines use that form for properties of a unit in annotations: `'inactive-or-failed'`, `uint64 10000000`, `['a', 'b']`.
This reads booleans, numbers, strings, arrays and tuples, each with or without its type, but no dictionaries, maybes,
variants or byte strings: no property of a unit uses those.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEYWORDS = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x",
    "uint64": "t", "double": "d", "string": "s", "objectpath": "o", "signature": "g",
}  # fmt: skip
# The range of each number type, by signature: the minimum, and the maximum plus 1.
RANGES = {
    "y": (0, 1 << 8), "n": (-(1 << 15), 1 << 15), "q": (0, 1 << 16), "i": (-(1 << 31), 1 << 31), "u": (0, 1 << 32),
    "x": (-(1 << 63), 1 << 63), "t": (0, 1 << 64),
}  # fmt: skip
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
BLANKS = " \t\n\r\f\v"
TEXTS = "sog"
# D-Bus's limit: 32 arrays and 32 structures (D-Bus specification, "Valid Signatures").
DEEPEST = 64


def parse(text: str) -> tuple[str, Any]:
    """Return (signature, value). Arrays become lists; tuples stay tuples. Raises ValueError with the reason."""
    reader = _Reader(text)
    signature, value = reader.value("")
    if reader.peek():
        raise ValueError(f"unexpected {reader.rest()!r} after the value")
    return signature, value


class _Reader:
    __slots__ = ("_at", "_depth", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def peek(self) -> str:
        """Return the next non-blank character; "" at the end."""
        while self._at < len(self._text) and self._text[self._at] in BLANKS:
            self._at += 1
        return self._text[self._at] if self._at < len(self._text) else ""

    def rest(self) -> str:
        return self._text[self._at :]

    def _skip(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def _word(self) -> str:
        self.peek()
        start = self._at
        while self._at < len(self._text) and (self._text[self._at].isalnum() or self._text[self._at] in "+-._()"):
            # Parentheses occur only in types: @a(ss) [].
            if self._text[self._at] in "()" and self._text[start - 1 : start] != "@":
                break
            self._at += 1
        return self._text[start : self._at]

    def value(self, wanted: str) -> tuple[str, Any]:
        """Parse the next value. wanted: its signature if known, or "" to infer it."""
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise ValueError(f"it is nested more than {DEEPEST} levels deep")
            return self._value(wanted)
        finally:
            self._depth -= 1

    def _value(self, wanted: str) -> tuple[str, Any]:
        first = self.peek()
        if first == "@":
            self._at += 1
            signature = self._word()
            if not signature or (wanted and signature != wanted):
                raise ValueError(f"the type {signature!r} is not the expected one")
            return self.value(signature)
        if first in ("'", '"'):
            if wanted and wanted not in TEXTS:
                raise ValueError("text instead of the expected type")
            return wanted or "s", self._string()
        if first == "[":
            return self._array(wanted)
        if first == "(":
            return self._tuple(wanted)
        return self._plain(wanted)

    def _plain(self, wanted: str) -> tuple[str, Any]:
        word = self._word()
        if word in KEYWORDS:
            if wanted and KEYWORDS[word] != wanted:
                raise ValueError(f"the type {word} is not the expected one")
            return self.value(KEYWORDS[word])
        if word in ("true", "false"):
            if wanted not in ("", "b"):
                raise ValueError("a boolean instead of the expected type")
            return "b", word == "true"
        if not word:
            raise ValueError(f"no value at {self.rest()!r}" if self.rest() else "a value is missing")
        return _number(word, wanted)

    def _string(self) -> str:
        quote = self._text[self._at]
        self._at += 1
        parts: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == quote:
                return "".join(parts)
            if character == "\\":
                parts.append(self._escape())
            else:
                parts.append(character)
        raise ValueError("the text is not terminated")

    def _escape(self) -> str:
        character = self._text[self._at : self._at + 1]
        self._at += 1
        length = {"u": 4, "U": 8}.get(character, 0)
        if not length:
            return ESCAPES.get(character, character)
        digits = self._text[self._at : self._at + length]
        self._at += length
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise ValueError(f"\\{character}{digits} is not a character") from None

    def _array(self, wanted: str) -> tuple[str, Any]:
        if wanted and wanted[0] != "a":
            raise ValueError("an array instead of the expected type")
        inner = wanted[1:]
        self._at += 1
        values: list[Any] = []
        while not self._skip("]"):
            if values and not self._skip(","):
                raise ValueError("the array is not terminated")
            inner, value = self.value(inner)
            values.append(value)
        if not inner:
            raise ValueError("an empty array needs its type, such as @as []")
        return "a" + inner, values

    def _tuple(self, wanted: str) -> tuple[str, Any]:
        if wanted and wanted[0] != "(":
            raise ValueError("a tuple instead of the expected type")
        inner = split(wanted[1:-1])
        self._at += 1
        signatures: list[str] = []
        values: list[Any] = []
        while not self._skip(")"):
            if values and not self._skip(","):
                raise ValueError("the tuple is not terminated")
            if self._skip(")"):
                break
            signature, value = self.value(inner[len(values)] if len(values) < len(inner) else "")
            signatures.append(signature)
            values.append(value)
        found = "(" + "".join(signatures) + ")"
        if not values or wanted not in ("", found):
            raise ValueError(f"a tuple {found} instead of {wanted or 'a non-empty one'}")
        return found, tuple(values)


def split(signature: str) -> list[str]:
    """Split a signature into complete types: "sa(ss)u" into s, a(ss) and u."""
    parts: list[str] = []
    depth = 0
    part = ""
    for character in signature:
        part += character
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(character, 0)
        if depth == 0 and character != "a":
            parts.append(part)
            part = ""
    return parts


def _number(word: str, wanted: str) -> tuple[str, Any]:
    if wanted == "d" or (not wanted and not word.lower().startswith("0x") and ("." in word or "e" in word.lower())):
        return "d", float(word)
    signature = wanted or "i"
    if signature not in RANGES:
        raise ValueError(f"{word!r} instead of the expected type")
    sign = -1 if word[0] == "-" else 1
    digits = (word[1:] if word[0] in "+-" else word).lower()
    base = 10
    if digits.startswith("0x"):
        base = 16
    elif digits.startswith("0") and len(digits) > 1:
        base = 8
    if not digits.isalnum():
        raise ValueError(f"{word!r} is not a number")
    number = sign * int(digits, base)
    least, end = RANGES[signature]
    if not least <= number < end:
        limits = f"the type {wanted}" if wanted else "an int32; give it a wider type"
        raise ValueError(f"{word} is out of range for {limits}")
    return signature, number

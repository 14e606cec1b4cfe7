"""-u USER[:GROUP], looked up in the image's /etc/passwd and /etc/group (passwd(5), group(5)). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ocipy import Error
from ocipy.box.config import User
from ocipy.box.sizes import is_number

HIGHEST_ID = (1 << 32) - 2
LONGEST = 20  # digits, with leading zeros
KINDS = {"passwd": "user", "group": "group"}


def resolve(word: str, passwd: bytes, group: bytes) -> User:
    """The user; "" is root. A number needs no entry: one would only give its group and home. Raises Error."""
    name, colon, group_name = word.partition(":")
    name = name or "0"
    entry = _find(passwd, name, 7)
    if entry is None and not name.isdecimal():
        raise Error(f"user {name} is not in the image's /etc/passwd", hint="use a number: it needs no entry")
    uid = _id(name if name.isdecimal() or entry is None else entry[2], "passwd")
    gid = _id(entry[3], "passwd") if entry else 0
    if colon and group_name:
        gid = _group(group_name, group)
    names = (entry[0],) if entry else ()
    # As login does: the groups that list the user, unless a group was named.
    groups = () if colon and group_name else tuple(_groups_of(names[0] if names else b"", group))
    home = entry[5].decode("utf-8", "surrogateescape") if entry else ""
    return User(uid, gid, tuple(one for one in groups if one != gid), home)


def _lines(text: bytes, fields: int) -> Iterator[list[bytes]]:
    for line in text.split(b"\n"):
        parts = line.split(b":")
        if len(parts) >= fields and not line.startswith(b"#"):
            yield parts


def _find(text: bytes, name: str, fields: int) -> list[bytes] | None:
    number = _number(name)
    for parts in _lines(text, fields):
        if name.isdecimal():
            if number is not None and _number(parts[2]) == number:
                return parts
        elif parts[0] == name.encode("utf-8", "surrogateescape"):
            return parts
    return None


def _number(text: bytes | str) -> int | None:
    """An id; None if it is not a number, or too large for the kernel. Python refuses to convert very long numbers."""
    digits = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if not is_number(digits) or len(digits) > LONGEST or int(digits) > HIGHEST_ID:
        return None
    return int(digits)


def _id(text: bytes | str, file: str) -> int:
    number = _number(text)
    if number is not None:
        return number
    if isinstance(text, bytes):
        raise Error(f"the image's /etc/{file} contains an id that is not a number, or too large")
    raise Error(f"{text[:LONGEST]} is not a valid {KINDS[file]} id", status=2)


def _group(name: str, text: bytes) -> int:
    if name.isdecimal():
        return _id(name, "group")
    entry = _find(text, name, 3)
    if entry is None:
        raise Error(f"group {name} is not in the image's /etc/group", hint="use a number: it needs no entry")
    return _id(entry[2], "group")


def _groups_of(name: bytes, text: bytes) -> Iterator[int]:
    for parts in _lines(text, 4):
        number = _number(parts[2])
        if name and name in parts[3].split(b",") and number is not None:
            yield number

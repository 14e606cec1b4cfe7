"""-u USER[:GROUP], looked up in the image's /etc/passwd and /etc/group (passwd(5), group(5)). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ocipy import Error
from ocipy.box.config import User

HIGHEST_ID = (1 << 32) - 2


def resolve(word: str, passwd: bytes, group: bytes) -> User:
    """The user; "" is root. A number needs no entry, which would only give its group and home. Raises Error."""
    name, colon, group_name = word.partition(":")
    name = name or "0"
    entry = _find(passwd, name, 7)
    if entry is None and not name.isdecimal():
        raise Error(f"user {name} is not in the image's /etc/passwd", hint="use a number: it needs no entry")
    uid = int(name) if name.isdecimal() else _number(entry, 2)
    gid = _number(entry, 3) if entry else 0
    if colon and group_name:
        gid = _group(group_name, group)
    if not 0 <= uid <= HIGHEST_ID:
        raise Error(f"{name} is not a valid user id", status=2)
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
    for parts in _lines(text, fields):
        if name.isdecimal():
            if parts[2].isdigit() and int(parts[2]) == int(name):
                return parts
        elif parts[0] == name.encode("utf-8", "surrogateescape"):
            return parts
    return None


def _number(entry: list[bytes] | None, index: int) -> int:
    if entry is None or not entry[index].isdigit():
        raise Error("the image's /etc/passwd contains an id that is not a number")
    return int(entry[index])


def _group(name: str, text: bytes) -> int:
    if name.isdecimal():
        return int(name)
    entry = _find(text, name, 3)
    if entry is None:
        raise Error(f"group {name} is not in the image's /etc/group", hint="use a number: it needs no entry")
    return _number(entry, 2)


def _groups_of(name: bytes, text: bytes) -> Iterator[int]:
    for parts in _lines(text, 4):
        if name and name in parts[3].split(b",") and parts[2].isdigit():
            yield int(parts[2])

"""The valid part of a config.json, so that one wrong member does not hide others. Cold: `ocipy validate`.

A wrong element is removed from its array, a wrong member from its object; a required one is replaced by a harmless
value. Pointers are always those of the document as written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from ocipy.config.check import scalar_holds
from ocipy.config.rules import ARRAY, CONFIG, MAP, OBJECT
from ocipy.errors import escape

_BROKEN = object()
_GONE, _KEPT, _TAKEN = range(3)
_ANY_MAP = [{"containerID": 0, "hostID": 0, "size": 0xFFFFFFFF}]

STAND_INS: dict[str, Any] = {
    "/ociVersion": "1.0.0",
    "/root": {"path": "."},
    "/root/path": ".",
    "/process/args": ["true"],
    "/process/cwd": "/",
    # accepts any errnoRet, and causes no warning
    "/linux/seccomp/defaultAction": "SCMP_ACT_TRACE",
    "/linux/uidMappings": _ANY_MAP,
    "/linux/gidMappings": _ANY_MAP,
}
"""Values for members without which the rest cannot be checked."""

_TOGETHER = ("/linux/uidMappings", "/linux/gidMappings")


class Draft:
    """A copy of a document that obeys the schema and has no unknown members.

    config: the copy; only valid if is_object.
    """

    def __init__(self, document: Any) -> None:
        self._indices: dict[int, list[int]] = {}
        self._wrong: set[str] = set()
        self._above: set[str] = set()
        self._replaced: set[str] = set()
        self.config: Any = self._kept(document, CONFIG, "")
        self.is_object = self.config is not _BROKEN

    def _kept(self, value: Any, rule: Any, pointer: str) -> Any:
        kept = self._right(value, rule, pointer)
        if kept is _BROKEN:
            self._note(pointer)
        return kept

    def _right(self, value: Any, rule: Any, pointer: str) -> Any:
        kind = rule[0]
        if kind == OBJECT:
            return self._kept_object(value, rule, pointer)
        if kind == ARRAY and isinstance(value, list):
            items = [self._kept(item, rule[1], f"{pointer}/{index}") for index, item in enumerate(value)]
            right = [index for index, item in enumerate(items) if item is not _BROKEN]
            kept = [items[index] for index in right]
            self._indices[id(kept)] = right
            return kept if len(kept) >= rule[2] else _BROKEN
        if kind == MAP and isinstance(value, dict):
            members = {
                name: self._kept(member, rule[1], pointer + escape(name))
                for name, member in value.items()
                if member is not None
            }
            return {name: member for name, member in members.items() if member is not _BROKEN}
        return value if kind not in (ARRAY, MAP) and scalar_holds(value, rule) else _BROKEN

    def _kept_object(self, value: Any, rule: Any, pointer: str) -> Any:
        if not isinstance(value, dict):
            return _BROKEN
        kept = {}
        for name, expected in rule[2].items():
            place = pointer + escape(name)
            member = value.get(name)
            if member is not None:
                member = self._kept(member, expected, place)
            elif name in rule[1]:
                member = _BROKEN
            if member is _BROKEN and place in STAND_INS:
                member = self._stand_in(place)
            if member is _BROKEN and name in rule[1]:
                return _BROKEN
            if member is not None and member is not _BROKEN:
                kept[name] = member
        return kept

    def _stand_in(self, pointer: str) -> Any:
        self._replaced.add(pointer)
        self._note(pointer)
        return deepcopy(STAND_INS[pointer])

    def _note(self, pointer: str) -> None:
        self._wrong.add(pointer)
        while pointer:
            pointer = pointer.rpartition("/")[0]
            self._above.add(pointer)

    def is_wrong(self, pointer: str) -> bool:
        """Whether the place, or one that contains it, has been removed or replaced."""
        while pointer:
            if pointer in self._wrong:
                return True
            pointer = pointer.rpartition("/")[0]
        return False

    def is_incomplete(self, pointer: str) -> bool:
        """Whether something below the place has been removed or replaced."""
        return pointer in self._above

    def original(self, pointer: str) -> str:
        """Turn a pointer into the copy into one into the document as written."""
        value: Any = self.config
        parts = []
        for part in pointer.split("/")[1:]:
            if isinstance(value, list) and part.isdigit() and int(part) < len(value):
                indices = self._indices.get(id(value))
                parts.append(str(indices[int(part)]) if indices else part)
                value = value[int(part)]
            else:
                parts.append(part)
                value = value.get(_name(part)) if isinstance(value, dict) else None
        return "".join("/" + part for part in parts)

    def remove_all(self, pointers: Iterable[str]) -> bool:
        """Remove several. Returns whether there was anything left to remove."""
        removed = [self.remove(pointer) for pointer in pointers]
        return any(removed)

    def remove(self, pointer: str) -> bool:
        """Remove a value, or the smallest enclosing one that can go without breaking the schema.

        pointer: into the document as written. Returns False if there was nothing left to remove.
        """
        self._note(pointer)
        if pointer in STAND_INS and pointer not in self._replaced:
            for place in _TOGETHER if pointer in _TOGETHER else (pointer,):
                self._put(place, self._stand_in(place))
            return True
        parts = pointer.split("/")[1:]
        while parts:
            result = self._take_out(parts)
            if result != _KEPT:
                return result == _TAKEN
            parts.pop()
        return False

    def _put(self, pointer: str, value: Any) -> None:
        holder = self.config
        *way, last = pointer.split("/")[1:]
        for name in way:
            holder = holder.setdefault(name, {})
        holder[last] = value

    def _take_out(self, parts: list[str]) -> int:
        """Returns _KEPT if the member is missing or required, _GONE if its element has been removed before."""
        value: Any = self.config
        rule: Any = CONFIG
        for part in parts[:-1]:
            if isinstance(value, list):
                index = self._index(value, part)
                if index < 0:
                    return _GONE
                value, rule = value[index], rule[1]
            elif isinstance(value, dict) and _name(part) in value:
                rule = rule[1] if rule[0] == MAP else rule[2][_name(part)]
                value = value[_name(part)]
            else:
                return _KEPT
        if isinstance(value, list):
            index = self._index(value, parts[-1])
            if index < 0 or len(value) <= rule[2]:
                return _GONE if index < 0 else _KEPT
            del value[index]
            self._indices[id(value)].pop(index)
            return _TAKEN
        name = _name(parts[-1])
        if not isinstance(value, dict) or name not in value or (rule[0] == OBJECT and name in rule[1]):
            return _KEPT
        del value[name]
        return _TAKEN

    def _index(self, array: list[Any], part: str) -> int:
        """The index in the copy of an element of the document; -1 if it has been removed."""
        indices = self._indices.get(id(array))
        if indices is None or not part.isdigit():
            return -1
        at = bisect_left(indices, int(part))
        return at if at < len(indices) and indices[at] == int(part) else -1


def _name(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")

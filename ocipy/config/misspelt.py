"""Members of a config.json that the schema does not know, and known ones that they resemble. Hot.

They are ignored (config.md, Extensibility), so a typo has no effect: `validate` and `run` warn about it.
"""

from __future__ import annotations

from ocipy.config.rules import ARRAY, CONFIG, MAP, OBJECT
from ocipy.errors import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ocipy.config.check import Rule

OTHER_PLATFORMS = ("freebsd", "solaris", "vm", "windows", "zos")
"""Sections for platforms other than Linux (config.md, Platform-specific configuration)."""


def unknown_members(value: Any, rule: Rule = CONFIG, pointer: str = "") -> Iterator[tuple[str, str, Iterable[str]]]:
    """(JSON pointer, name, the names that are known there) of each member that the rule does not know.

    value need not obey the rule. The sections of other platforms count as known.
    """
    kind = rule[0]
    if kind == OBJECT and isinstance(value, dict):
        known = rule[2]
        for name, member in value.items():
            if name in known:
                yield from unknown_members(member, known[name], pointer + escape(name))
            elif pointer or name not in OTHER_PLATFORMS:
                yield pointer + escape(name), name, known
    elif kind == MAP and isinstance(value, dict):
        for name, member in value.items():
            yield from unknown_members(member, rule[1], pointer + escape(name))
    elif kind == ARRAY and isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_members(item, rule[1], f"{pointer}/{index}")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like a misspelt one; "" if none is close."""
    if len(word) > 64:
        return ""
    plain = _plain(word)
    most = 0 if len(plain) < 4 else 1 if len(plain) < 6 else 2
    found = min(((_slips(plain, _plain(name), most), name) for name in known), default=(most + 1, ""))
    near = found[0] <= most and (found[0] < 2 or plain[0] == _plain(found[1])[0])  # rtPeriod is not period
    return found[1] if near else ""


def misspelt(config: Any) -> list[tuple[str, str]]:
    """(JSON pointer, text) of each unknown member that looks like a known one."""
    return [
        (pointer, unknown_text(name, known)) for pointer, name, known in unknown_members(config) if nearest(name, known)
    ]


def unknown_text(name: str, known: Iterable[str]) -> str:
    """The warning about an unknown member."""
    meant = nearest(name, known)
    return "is unknown and ignored" + (f"; did you mean {meant}?" if meant else "")


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _slips(one: str, other: str, most: int) -> int:
    """The number of wrong, missing, extra or exchanged letters (optimal string alignment), or a number above most."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]

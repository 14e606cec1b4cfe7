"""The description as docs/config.md: a table for each object, with the modules that implement each member."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ocipy.config.description.nodes import (
    Anything,
    Array,
    Boolean,
    Integer,
    Kind,
    Map,
    Matching,
    Member,
    Object,
    String,
    Value,
    Words,
    objects,
)
from ocipy.version import SPEC_VERSION

PACKAGE = Path(__file__).resolve().parents[2]

ROOMS = ("config", "plan", "host", "init", "cgroups", "systemd")
"""Where a member is planned and carried out, in this order."""

_HEADER = f"""\
# The fields of config.json

The members of a `config.json` that ocipy reads, object by object, up to version {SPEC_VERSION} of the specification.
It ignores members that it does not know, and treats null as absent. `ocipy validate` says what is wrong with a
document; rules across members, such as which namespace a field needs, are in `config/semantic.py` and its neighbours.

The last column names the modules below `ocipy/` that carry a member out: those of `config/` parse it, those of `plan/`
decide, those of `init/` act in the container, the others on the host. [spec/README.md](../spec/README.md) says how a
field is added.

Generated from `ocipy/config/description/` by `python -m ocipy.config.generate`: do not edit.
"""


def render(document: Object) -> str:
    """The text of docs/config.md. ValueError: the description names a module that is in none of the rooms."""
    places: dict[str, list[str]] = {}
    modules: dict[tuple[str, str], dict[str, None]] = {}
    for kind, place, member, names in _walk(document, "", ""):
        found = places.setdefault(kind.name, [])
        if place not in found:
            found.append(place)
        modules.setdefault((kind.name, member.name), {}).update(dict.fromkeys(_files(names)))
    parts = [_HEADER]
    for kind in objects(Value(document.name, document)):
        where = ", ".join(f"`{place}`" for place in places[kind.name] if place)
        rows = [_row(member, modules[kind.name, member.name]) for member in kind.members]
        parts.append(
            f"## {kind.name}\n\n{kind.doc}\n"
            + (f"\nAt {where}.\n" if where else "")
            + "\n| member | value | since | what | where |\n|---|---|---|---|---|\n"
            + "".join(rows)
        )
    return "\n".join(parts)


def _walk(kind: Object, place: str, names: str) -> Iterator[tuple[Object, str, Member, str]]:
    """(object, its place, member, the modules of the member) of everything in an object, at every place."""
    for member in kind.members:
        yield kind, place, member, member.modules or names
        inner, suffix = _inner(member.value)
        if inner:
            yield from _walk(inner, f"{place}.{member.name}{suffix}".removeprefix("."), member.below or names)


def _inner(value: Value) -> tuple[Object | None, str]:
    match value.kind:
        case Object():
            return value.kind, ""
        case Array(item):
            return _inner(item)[0], "[]"
        case Map(item):
            return _inner(item)[0], ".*"
        case Anything(of):
            return _inner(of)
    return None, ""


def _files(names: str) -> Iterator[str]:
    for name in names.split(" ") if names else ():
        paths = [name] if "/" in name else [f"{room}/{name}" for room in ROOMS]
        found = [path for path in paths if (PACKAGE / f"{path}.py").is_file()]
        if not found:
            raise ValueError(f"no room has a module {name}")
        yield from found


def _row(member: Member, modules: dict[str, None]) -> str:
    value = _words(member.value) + ("; **required**" if member.required else "")
    notes = (f" {member.platform} only." if member.platform else "") + (" Deprecated." if member.deprecated else "")
    where = ", ".join(f"`{path}`" for path in sorted(modules, key=lambda path: ROOMS.index(path.partition("/")[0])))
    cells = (f"`{member.name}`", value, member.since, member.doc + notes, where)
    return "| " + " | ".join(cells) + " |\n"


def _words(value: Value) -> str:
    """What a value must be, in words."""
    kind: Kind = value.kind
    match kind:
        case Object():
            return f"[{kind.name}](#{kind.name.lower()})"
        case Array():
            return "array: " + _words(kind.item) + (f", at least {kind.at_least}" if kind.at_least else "")
        case Map():
            return "object with any keys: " + _words(kind.value)
        case Anything(of):
            return _words(of)
        case Boolean():
            return "boolean"
        case Integer():
            return value.name.lower() or "integer" + (f", at least {kind.low}" if kind.low is not None else "")
        case Words():
            return " ".join(f"`{word}`" for word in kind.words if word)
        case String():
            return "string"
        case Matching(pattern):
            return "string: " + pattern.words

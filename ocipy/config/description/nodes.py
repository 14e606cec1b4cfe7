"""The description as a tree of nodes, from which the generators write. Read from the TypedDicts and their source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any, Literal, Required, get_args, get_origin, get_type_hints, is_typeddict

from ocipy.config.description import (
    document,
    features,
    linux,
    markers,
    process,
    resources,
    seccomp,
    shared,
    state,
    values,
)

MODULES = (document, process, linux, resources, seccomp, shared, state, features)

DOCUMENTS = {"config": document.Config, "state": state.State, "features": features.Features}
"""Name of each document → its type."""


@dataclass(frozen=True)
class String:
    pass


@dataclass(frozen=True)
class Matching:
    """A string with a pattern."""

    pattern: markers.Pattern


@dataclass(frozen=True)
class Boolean:
    pass


@dataclass(frozen=True)
class Integer:
    low: int | None
    high: int | None


@dataclass(frozen=True)
class Words:
    """One of these strings."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Array:
    item: Value
    at_least: int


@dataclass(frozen=True)
class Map:
    """An object with any keys."""

    value: Value


@dataclass(frozen=True)
class Anything:
    """Any value. of: what it should be."""

    of: Value


@dataclass(frozen=True)
class Object:
    name: str
    doc: str
    members: tuple[Member, ...]


Kind = String | Matching | Boolean | Integer | Words | Array | Map | Anything | Object


@dataclass(frozen=True)
class Value:
    """name: of the kind in values.py or of the TypedDict; "" where it has none."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Member:
    """A member of an object. since, platform, modules, below (as in markers.In): "" if the description says nothing.

    required_unless: (another member, the values of it that make this one optional).
    """

    name: str
    doc: str
    value: Value
    required: bool
    required_unless: tuple[str, tuple[str, ...]] | None
    since: str
    deprecated: bool
    platform: str
    modules: str
    below: str


def read_document(name: str) -> Object:
    """The description of "config", "state" or "features". ValueError: it is incomplete, or not understood."""
    return _Reader().object(DOCUMENTS[name])


def objects(value: Value) -> Iterator[Object]:
    """The objects in a value, each once, outer ones first."""
    seen: dict[str, Object] = {}
    waiting = [value]
    while waiting:
        kind = waiting.pop(0).kind
        if isinstance(kind, Object) and kind.name not in seen:
            seen[kind.name] = kind
            waiting = [member.value for member in kind.members] + waiting
        elif isinstance(kind, Array):
            waiting.insert(0, kind.item)
        elif isinstance(kind, Map):
            waiting.insert(0, kind.value)
        elif isinstance(kind, Anything):
            waiting.insert(0, kind.of)
    yield from seen.values()


class _Reader:
    def __init__(self) -> None:
        self.docs = {name: docs for module in MODULES for name, docs in _docs(module).items()}
        self.named = list(_named_kinds())

    def object(self, cls: Any) -> Object:
        own, docs = self.docs[cls.__name__]
        hints = get_type_hints(cls, include_extras=True)
        members = (
            self.member(name, hint, docs.get(name, ""), cls.__total__ or get_origin(hint) is Required)
            for name, hint in hints.items()
        )
        return Object(cls.__name__, own, tuple(members))

    def member(self, name: str, hint: Any, doc: str, required: bool) -> Member:
        said: dict[type, Any] = {}
        if get_origin(hint) is Required:
            (hint,) = get_args(hint)
        if get_origin(hint) is Annotated:
            said = {type(marker): marker for marker in get_args(hint)[1:]}
        doc = said[markers.Doc].text if markers.Doc in said else doc
        if not doc:
            raise ValueError(f"{name} has no description")
        unless = said.get(markers.RequiredUnless)
        return Member(
            name=name,
            doc=doc,
            value=self.value(hint),
            required=required,
            required_unless=(unless.member, unless.values) if unless else None,
            since=said[markers.Since].version if markers.Since in said else "",
            deprecated=markers.Deprecated in said,
            platform=said[markers.Only].platform if markers.Only in said else "",
            modules=said[markers.In].names if markers.In in said else "",
            below=(said[markers.In].below or said[markers.In].names) if markers.In in said else "",
        )

    def value(self, hint: Any) -> Value:
        markers_of: list[Any] = []
        if get_origin(hint) is Annotated:
            hint, *markers_of = get_args(hint)
        kind = self.kind(hint, {type(marker): marker for marker in markers_of})
        if isinstance(kind, Object):
            return Value(kind.name, kind)
        # What values.py says comes first; the markers of the member follow.
        names = (name for base, own, name in self.named if base == hint and markers_of[: len(own)] == own)
        return Value(next(names, ""), kind)

    def kind(self, hint: Any, said: dict[type, Any]) -> Kind:
        origin = get_origin(hint)
        if markers.CheckedLater in said:
            return Anything(self.value(hint))
        if hint is str:
            return Matching(said[markers.Pattern]) if markers.Pattern in said else String()
        if hint is bool:
            return Boolean()
        if hint is int:
            bounds = said.get(markers.Range)
            return Integer(bounds.low, bounds.high) if bounds else Integer(None, None)
        if origin is Literal:
            return Words(get_args(hint))
        if origin is list:
            return Array(self.value(get_args(hint)[0]), said[markers.MinItems].count if markers.MinItems in said else 0)
        if origin is dict and get_args(hint)[0] is str:
            return Map(self.value(get_args(hint)[1]))
        if is_typeddict(hint):
            return self.object(hint)
        raise ValueError(f"{hint!r} is not a type of JSON")


def _named_kinds() -> Iterator[tuple[Any, list[Any], str]]:
    """(the type, its markers, the name) of each kind in values.py."""
    for name, kind in vars(values).items():
        if get_origin(kind) is Annotated:
            base, *own = get_args(kind)
            yield base, own, name
        elif get_origin(kind) is Literal:
            yield kind, [], name


def _docs(module: ModuleType) -> dict[str, tuple[str, dict[str, str]]]:
    """Class → (its first line, member → the string below it), from the source of a module."""
    found = {}
    for node, after in _with_next(ast.parse(inspect.getsource(module)).body):
        if isinstance(node, ast.ClassDef):
            members = {
                member.target.id: _text(below)
                for member, below in _with_next(node.body)
                if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)
            }
            found[node.name] = (_text(node.body[0]), members)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = (_text(after), {})
    return found


def _with_next(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt]]:
    return zip(body, [*body[1:], ast.Pass()], strict=True)


def _text(node: ast.stmt) -> str:
    """The first line of a string that stands alone; "" for anything else."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value.strip().partition("\n")[0]
    return ""

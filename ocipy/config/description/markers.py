"""What a type cannot say about a member: markers for Annotated, which nodes.py reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """An integer from low to high, both included; high None: no upper bound."""

    low: int
    high: int | None = None


@dataclass(frozen=True)
class Pattern:
    """A string that a regular expression matches (ECMAScript's dialect as well as Python's, with anchors).

    words: for users, as in "must be WORDS". predicate: the function of patterns.py that decides the
    same without importing re; "" where create never checks it.
    """

    regex: str
    words: str
    predicate: str = ""


@dataclass(frozen=True)
class MinItems:
    """An array of at least this many elements."""

    count: int


@dataclass(frozen=True)
class CheckedLater:
    """The schema accepts any value; semantic.py checks it."""


@dataclass(frozen=True)
class Since:
    """The first version of the specification that has the member; without this marker, 1.0.0."""

    version: str


@dataclass(frozen=True)
class Deprecated:
    """The specification calls the member deprecated or not recommended."""


@dataclass(frozen=True)
class Only:
    """The platforms that have the member, "Linux" or "POSIX"; also applies to the members below it."""

    platform: str


@dataclass(frozen=True)
class In:
    """The modules that carry the member out; several are separated by spaces.

    names: "mounts" stands for that module in each room that has one, "init/mounts" for a single one. below: the modules
    of the members below this one that do not name any; by default the same.
    """

    names: str
    below: str = ""


@dataclass(frozen=True)
class RequiredUnless:
    """The member is required unless another one has one of these values."""

    member: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Doc:
    """The description, for a TypedDict written as a call, which has no place for a string below the member."""

    text: str

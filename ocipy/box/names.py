"""Ids and names of boxes, and which text is allowed."""

from __future__ import annotations

import os

from ocipy import Error
from ocipy.errors import printable

# Two words make a name.
FIRST = (
    "amber", "bold", "brave", "brisk", "calm", "clear", "copper", "crisp", "dawn", "deep", "eager", "early", "fair",
    "fern", "fleet", "fresh", "gentle", "golden", "green", "keen", "kind", "light", "lively", "lucid", "mellow", "neat",
    "noble", "open", "plain", "proud", "quick", "quiet", "ready", "silver", "sober", "steady", "sunny", "swift", "tidy",
    "warm",
)  # fmt: skip
SECOND = (
    "anchor", "arch", "badger", "barge", "beacon", "birch", "bridge", "brook", "canal", "cedar", "cliff", "comet",
    "cove", "crane", "delta", "drum", "elm", "falcon", "ferry", "field", "finch", "forge", "fox", "gate", "glen",
    "harbor", "heron", "hill", "inlet", "lantern", "maple", "mill", "otter", "pier", "pine", "quay", "raft", "ridge",
    "river", "willow",
)  # fmt: skip
ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"


def new_id() -> str:
    """12 hexadecimal digits."""
    return os.urandom(6).hex()


def is_id(word: str) -> bool:
    """Whether it has the form of an id."""
    return len(word) == 12 and set(word) <= set("0123456789abcdef")


def new_name(taken: set[str]) -> str:
    """A name of two words that no other box has."""
    while True:
        first, second = os.urandom(2)
        name = f"{FIRST[first % len(FIRST)]}-{SECOND[second % len(SECOND)]}"
        if name not in taken:
            return name


def check_name(name: str) -> None:
    """Raise Error unless the name has only letters and digits, and _ . - after the first character."""
    if not name or len(name) > 128 or not name[0].isalnum() or any(letter not in ALLOWED for letter in name):
        hint = "use letters and digits, and _ . - after the first character"
        raise Error(f"{name!r} is not a valid name for a box", hint=hint, status=2)


def check_utf8(text: str, *, hint: str = "", status: int = 1) -> None:
    """Raise Error for text of a command line or a path with bytes that config.json cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        why = "is not UTF-8, which config.json must be (RFC 8259, 8.1)"
        raise Error(f"{printable(text)} {why}", hint=hint, status=status) from None

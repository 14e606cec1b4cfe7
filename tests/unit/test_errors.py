"""The one error: its line, its hint, and its way from the init process to the host's."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from ocipy.errors import LONGEST_TEXT, Error, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/däta 数", "/srv/däta 数"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),
        ("right\u202eleft", r"right\u202eleft"),
        (b"name-\xff".decode("utf-8", "surrogateescape"), r"name-\xff"),
    ],
)
def test_nothing_reaches_a_terminal_that_it_would_act_on(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert Error(text, pointer=text).line == f"{shown}: {shown}"
    assert Error("x", hint=text.replace("\n", " ")).advice == "  " + shown.replace(r"\n", " ") + "\n"


def test_line_and_advice() -> None:
    error = Error("cannot open it", pointer="/root/path", errno=errno.EACCES, hint="first\nsecond")
    assert error.line == "/root/path: cannot open it: Permission denied"
    assert error.advice == "  first\n  second\n"
    assert Error("x").advice == ""


def test_there_and_back() -> None:
    error = Error("what", pointer="/a/0", errno=errno.EPERM, hint="why", status=7)
    assert Error.from_message(error.to_message()).to_message() == error.to_message()


def test_a_message_is_short_enough_for_the_channel() -> None:
    long = "x" * 1_000_000
    message = Error(long, pointer=long, hint=long).to_message()
    assert sum(len(str(value)) for value in message.values()) < 4 * LONGEST_TEXT


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"what": None, "pointer": 1, "errno": "x", "hint": [], "status": {}},
        {"errno": -1, "status": 0},
        {"errno": 10**30, "status": 256},
        {"errno": 4096, "status": -9},
    ],
)
def test_a_message_of_the_containers_is_never_a_success(message: dict[str, Any]) -> None:
    error = Error.from_message(message)
    assert (error.what, error.pointer, error.errno, error.hint, error.status) == ("", "", 0, "", 1)

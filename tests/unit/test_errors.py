"""Error: its line, its hint, and its way from the init process to the host's process."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from ocipy import log
from ocipy.cli import main as cli
from ocipy.cli.commands import state as command
from ocipy.errors import (
    CAUSES,
    LONGEST_PLACE,
    LONGEST_TEXT,
    Error,
    caused_by,
    in_bytes,
    place_of,
    printable,
    refused,
    reported_as,
)
from ocipy.init.mounts import MOUNT_CAUSES, cannot_mount
from ocipy.init.process import EXEC_CAUSES

if TYPE_CHECKING:
    from ocipy.errors import Hint


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


def test_a_text_that_is_too_long_is_cut_and_marked() -> None:
    """conmon reads at most 8191 bytes of the message, which the engine then shows."""
    line = Error("x" * 100_000, pointer="/" + "y" * 100_000, errno=errno.EIO).line
    assert len(line) < 8000 - LONGEST_PLACE
    assert "… (100000 characters)" in line and "… (100001 characters): " in line
    assert line.endswith(": Input/output error")
    assert Error("x" * LONGEST_TEXT).line == "x" * LONGEST_TEXT


def test_the_usual_cause_is_the_default_hint() -> None:
    assert "RLIMIT_NOFILE" in Error("x", errno=errno.EMFILE).hint
    assert Error("x", errno=errno.EMFILE, hint="why").hint == "why"
    assert Error("x", errno=errno.ENOENT).hint == ""
    error = refused(OSError(errno.ENOSPC, "x"), "fifo", "/mounts/0", status=7)
    assert error.line == "/mounts/0: the kernel refused the step fifo: No space left on device"
    assert error.status == 7


def test_a_filesystem_s_own_words_come_before_the_usual_cause() -> None:
    error = OSError(errno.EINVAL, "x")
    assert cannot_mount("overlay", "/data", error).hint == MOUNT_CAUSES[errno.EINVAL]
    error.add_note("ext4: no journal")
    assert cannot_mount("ext4", "/data", error).hint == "ext4: no journal"


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("why", "why"),
        ("", CAUSES[errno.EACCES]),
        ({errno.EACCES: "why"}, "why"),
        ({errno.ENOENT: "another"}, CAUSES[errno.EACCES]),
        (lambda error: f"errno {error.errno}", f"errno {errno.EACCES}"),
    ],
)
def test_an_oserror_of_the_block_is_reported(hint: Hint, shown: str) -> None:
    with pytest.raises(Error) as caught, reported_as("cannot open it", pointer="/root/path", hint=hint):
        raise PermissionError(errno.EACCES, "ignored", "ignored")
    assert caught.value.line == "/root/path: cannot open it: Permission denied"
    assert caught.value.hint == shown
    assert caught.value.status == 1
    assert caught.value.__suppress_context__  # no second traceback


def test_an_oserror_without_errno_is_reported() -> None:
    with pytest.raises(Error) as caught, reported_as("cannot open it"):
        raise OSError("timed out")
    assert (caught.value.line, caught.value.errno) == ("cannot open it", 0)


@pytest.mark.parametrize("other", [Error("own words"), ValueError(), KeyboardInterrupt(), SystemExit(3)])
def test_nothing_but_an_oserror_is_reported(other: BaseException) -> None:
    with pytest.raises(type(other)) as caught, reported_as("cannot open it"):
        raise other
    assert caught.value is other


def test_a_block_that_succeeds_passes() -> None:
    with reported_as("cannot open it"):
        done = True
    assert done


def test_an_error_that_is_not_raised_at_once() -> None:
    error = caused_by(OSError(errno.ELOOP, ""), "cannot open it", hint={errno.ELOOP: "a loop"}, status=7)
    assert (error.what, error.errno, error.hint, error.status) == ("cannot open it", errno.ELOOP, "a loop", 7)


def test_no_cause_has_words_that_engines_look_for() -> None:
    """Engines would change the exit status for these words (docs/errors.md)."""
    words = ("permission denied", "not permitted", "not found", "no such file", "does not exist", "not running",
             "is a directory", "not a directory", "no such process", "invalid process")  # fmt: skip
    for text in (*CAUSES.values(), *EXEC_CAUSES.values(), *MOUNT_CAUSES.values()):
        assert not [word for word in words if word in text.lower()], text


def test_outside_of_a_plan_the_step_is_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_nothing(*_words: object) -> int:
        os.open("/nonexistent/file", os.O_RDONLY)
        return 0

    monkeypatch.setattr(command, "run", open_nothing)
    told: list[str] = []
    monkeypatch.setattr(log, "write_stderr", told.append)
    assert cli.main(["ocipy", "--root", "/nonexistent", "state", "web"]) == 1
    step = "test_errors.open_nothing"
    assert told == [
        f"ocipy: state web: /nonexistent/file: the kernel refused the step {step}: No such file or directory\n"
    ]
    assert place_of(None) == "main"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1024 bytes (1 KiB)"),
        (104857600, "104857600 bytes (100 MiB)"),
        (1500000000, "1500000000 bytes (about 1.397 GiB)"),
        (2**63 - 1, "9223372036854775807 bytes (about 8 EiB)"),
        (2**80, "1208925819614629174706176 bytes (about 1.049e+06 EiB)"),
        (-1, "-1 bytes"),
    ],
)
def test_a_size_has_its_unit(number: int, text: str) -> None:
    assert in_bytes(number) == text

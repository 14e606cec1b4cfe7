"""The command line's parser accepts every form that runc's accepts."""

from __future__ import annotations

from unittest import mock

import pytest

from ocipy.cli.arguments import GLOBALS, TABLES, Arguments, Flag, parse
from ocipy.errors import Error
from ocipy.state.directory import state_root

FLAGS = (
    Flag("bundle", "text", "", aliases=("b",), default="."),
    Flag("detach", "switch", "", aliases=("d",)),
    Flag("preserve-fds", "number", ""),
    Flag("env", "list", "", aliases=("e",)),
)


def parsed(*words: str) -> Arguments:
    arguments = Arguments()
    parse(words, FLAGS, arguments)
    return arguments


@pytest.mark.parametrize(
    "words",
    [
        ("--bundle", "/b", "id"),
        ("--bundle=/b", "id"),
        ("-bundle", "/b", "id"),
        ("-bundle=/b", "id"),
        ("-b", "/b", "id"),
        ("-b=/b", "id"),
        ("id", "--bundle", "/b"),
        ("id", "-b", "/b"),
    ],
)
def test_a_value_in_every_form(words: tuple[str, ...]) -> None:
    arguments = parsed(*words)
    assert arguments.text("bundle") == "/b"
    assert arguments.positional == ["id"]


@pytest.mark.parametrize(
    ("words", "on"),
    [
        ((), False),
        (("--detach",), True),
        (("-d",), True),
        *(((f"--detach={word}",), True) for word in ("1", "t", "T", "true", "True", "TRUE")),
        *(((f"--detach={word}",), False) for word in ("0", "f", "F", "false", "False", "FALSE")),
    ],
)
def test_a_switch_in_every_form(words: tuple[str, ...], on: bool) -> None:
    assert parsed(*words).switch("detach") is on


def test_defaults() -> None:
    arguments = parsed()
    assert arguments.text("bundle") == "."
    assert arguments.number("preserve-fds") == 0
    assert arguments.values["env"] == ()


def test_a_list_is_not_split_at_commas() -> None:
    assert parsed("-e", "A=1,2", "--env=B=3").values["env"] == ("A=1,2", "B=3")


def test_an_empty_value_is_a_value() -> None:
    assert parsed("--bundle=").text("bundle") == ""


def test_a_dash_is_positional_and_two_end_the_flags() -> None:
    assert parsed("-", "--", "-b").positional == ["-", "-b"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--nonsense",), "flag provided but not defined: --nonsense"),
        (("-nonsense=1",), "flag provided but not defined: -nonsense"),
        (("-it",), "flag provided but not defined: -it"),
        (("--bundle",), "flag needs an argument: --bundle"),
        (("-b",), "flag needs an argument: -b"),
        (("-preserve-fds=y",), "-preserve-fds needs a number, not 'y'"),
        (("-d=maybe",), "-d must be true or false, not 'maybe'"),
        (("--preserve-fds", "x"), "--preserve-fds needs a number, not 'x'"),
        (("--detach=maybe",), "--detach must be true or false, not 'maybe'"),
    ],
)
def test_what_is_refused_is_quoted_as_typed(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(Error) as caught:
        parsed(*words)
    assert caught.value.what == text


@pytest.mark.parametrize(
    "word, error",
    [
        ("--rootless=maybe", "--rootless must be auto, true or false, not 'maybe'"),
        ("--cgroup-manager=none", "--cgroup-manager must be cgroupfs, systemd or disabled, not 'none'"),
        ("--log-format=", "--log-format must be text or json, not ''"),
    ],
)
def test_a_flag_with_a_list_of_words_takes_no_others(word: str, error: str) -> None:
    arguments = Arguments()
    parse([word], GLOBALS, arguments)
    with pytest.raises(Error, match=f"^{error}$"):
        arguments.check_words()


def test_a_flag_with_a_list_of_words_may_be_left_out() -> None:
    arguments = Arguments()
    parse([], GLOBALS, arguments)
    arguments.check_words()


def test_positional_arguments_are_counted() -> None:
    with pytest.raises(Error, match="the container's ID is missing"):
        parsed().one("the container's ID")
    with pytest.raises(Error, match="unexpected argument 'b'"):
        parsed("a", "b").one("the container's ID")
    assert parsed("a").expect("the container's ID", "the signal", optional=1) == ["a"]


def test_what_was_typed_once_is_not_the_default_later() -> None:
    known, initial = TABLES[FLAGS]
    before = dict(initial)
    with mock.patch.dict(TABLES, {FLAGS: (known, initial)}):
        assert parsed("-b", "x", "-d", "--preserve-fds", "3", "-e", "a=b").texts("env") == ("a=b",)
        assert initial == before
        again = parsed()
    assert (again.text("bundle"), again.switch("detach"), again.texts("env")) == (".", False, ())


def test_globals_stop_at_the_command() -> None:
    arguments = Arguments()
    assert parse(["--detach", "create", "-b", "x"], FLAGS, arguments, stop_at_positional=True) == 1


def test_what_follows_the_id_may_be_for_another_program() -> None:
    words = ["-d", "id", "-d", "--", "--nonsense"]
    arguments = Arguments()
    assert words[parse(words, FLAGS, arguments, stop_at_positional=True) :] == ["id", "-d", "--", "--nonsense"]
    assert arguments.switch("detach")
    assert parse(["-d", "--", "-d"], FLAGS, Arguments(), stop_at_positional=True) == 2


def test_the_state_root_is_never_the_root_directory() -> None:
    with pytest.raises(Error, match="--root /"):
        state_root("/")
    assert state_root("/x/y/") == "/x/y"

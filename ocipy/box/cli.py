"""`ocipy box`: the command line."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ocipy import Error
from ocipy.box.boxes import Boxes
from ocipy.box.commands import COMMANDS
from ocipy.box.status import OutOfMemory, status_of
from ocipy.errors import caused_by, did_you_mean


class HelpShown(Exception):
    """The help that was asked for has been printed."""


class Parser(argparse.ArgumentParser):
    """Usage errors raise Error, as everywhere in ocipy, and the hint names the command's help.

    Flags cannot be abbreviated: anything but docker's name for a flag is an error.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Raises Error for an unknown flag here, since argparse would report it as one of `ocipy box`."""
        given, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise self._unknown(unknown[0])
        return given, unknown

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Called after --help. Raises HelpShown: SystemExit would be reported as an internal error."""
        raise HelpShown

    def _unknown(self, word: str) -> Error:
        flag = word.partition("=")[0]
        if not flag.startswith("-"):
            return Error(f"unexpected argument {word!r}", hint=f"see: {self.prog} --help", status=2)
        known = [one[2:] for one in self._option_string_actions if one.startswith("--")]
        meant = did_you_mean(flag.lstrip("-"), known, "--")
        return unknown_word(f"unknown flag: {flag}", meant, f"{self.prog} --help lists the flags")

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raises Error, with exit status 2."""
        _, required, missing = message.partition("the following arguments are required: ")
        if required:
            message = f"{missing.partition(', ')[0]} is missing"
        raise Error(message, hint=f"see: {self.prog} --help", status=2)


def unknown_word(what: str, meant: str, listed: str) -> Error:
    """The Error for an unknown command or flag. meant: what did_you_mean says. listed: where the known ones are."""
    return Error(what, hint=f"{meant} {listed}".lstrip(), status=2)


def main(words: Sequence[str]) -> int:
    """Run a command line. Return its exit status. Raises Error."""
    os.umask(0o022)  # a box's other users must reach its root, and the files that we make for it
    try:
        status = _call(words)
        sys.stdout.flush()
        return status
    except OutOfMemory:
        raise  # unchanged: its exit status is the box's own
    except BrokenPipeError:
        if not is_unread(1):
            raise
        with open(os.devnull, "wb") as null:  # for the bytes that are still in the buffer
            os.dup2(null.fileno(), 1)
        return 0  # like the runtime's commands
    except OSError as problem:
        file = problem.filename2 or problem.filename
        error = caused_by(problem, "cannot use the file" if file else "a system call failed", pointer=str(file or ""))
        raise _with_status(error, words) from None
    except Error as error:
        raise _with_status(error, words) from None


def _call(words: Sequence[str]) -> int:
    try:
        given = parser(words[0] if words else "").parse_args(words)
    except HelpShown:
        return 0
    run: Callable[[Boxes, argparse.Namespace], int] = given.run
    return run(Boxes(), given)


def is_unread(fd: int) -> bool:
    """Whether the descriptor is a pipe or socket that nobody reads any more (poll(2))."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _with_status(error: Error, words: Sequence[str]) -> Error:
    """Change the error's exit status, so that the caller can tell it from that of a command in the box."""
    if words[:1] == ["run"]:
        error.status = status_of(error)
    elif words[:1] == ["exec"]:
        error.status = status_of(error, otherwise=min(error.status, 1))
    return error


def parser(asked: str = "") -> Parser:
    """The parser of one command; of all commands for "" or a flag. Raises Error for an unknown command.

    Building the parsers of all commands takes 6 ms.
    """
    made = Parser(
        prog="ocipy box",
        description="Run containers from images, with limits and a network, with one command.",
        epilog="example: ocipy box run -it --memory 50M busybox",
    )
    subparsers = made.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    chosen = [one for one in COMMANDS if not asked or asked.startswith("-") or asked == one.name]
    if not chosen:
        meant = did_you_mean(asked, [one.name for one in COMMANDS if one.summary], "ocipy box ")
        raise unknown_word(f"no such command: {asked}", meant, "ocipy box --help lists the commands")
    for command in chosen:
        if command.summary:
            subparser = subparsers.add_parser(
                command.name, help=command.summary, description=command.summary, epilog=command.calls
            )
        else:
            subparser = subparsers.add_parser(command.name)
        subparser.set_defaults(run=command.run, called=command.name)
        command.add_arguments(subparser)
    return made

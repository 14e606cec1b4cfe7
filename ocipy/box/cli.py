"""`ocipy box`: the command line."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ocipy import Error
from ocipy.box import actions
from ocipy.box.boxes import Boxes
from ocipy.box.flags import add_run_flags
from ocipy.box.orphans import ENDED
from ocipy.box.sizes import seconds
from ocipy.box.status import OutOfMemory, status_of
from ocipy.errors import caused_by, did_you_mean

DELETE = "ocipy delete --force ID"
STOPS = "calls: ocipy kill ID with the image's stop signal (TERM), and after SECONDS ocipy kill ID KILL"
Command = Callable[[Boxes, argparse.Namespace], int]


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
        """Called after --help. Raises HelpShown: SystemExit would be an internal error."""
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
    """The Error for an unknown command or flag. meant: by did_you_mean. listed: where the known ones are."""
    return Error(what, hint=f"{meant} {listed}".lstrip(), status=2)


def main(words: Sequence[str]) -> int:
    """Run a command line. Return its exit status. Raises Error."""
    os.umask(0o022)  # a box's other users must reach its root, and the files that we make for it
    try:
        status = _call(words)
        sys.stdout.flush()
        return status
    except OutOfMemory:
        raise
    except BrokenPipeError:
        if not is_unread(1):
            raise
        with open(os.devnull, "wb") as null:  # for the bytes that are still in the buffer
            os.dup2(null.fileno(), 1)
        return 0  # as the runtime's commands
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
    command: Command = given.command_function
    return command(Boxes(), given)


def is_unread(fd: int) -> bool:
    """Whether the descriptor is a pipe or socket that nobody reads any more (poll(2))."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _with_status(error: Error, words: Sequence[str]) -> Error:
    """The caller of a command in a box must be able to tell its exit status from ours."""
    if words[:1] == ["run"]:
        error.status = status_of(error)
    elif words[:1] == ["exec"]:
        error.status = status_of(error, otherwise=min(error.status, 1))
    return error


class Unasked(Parser):
    """Replaces the parser of a command that was not asked for: building all of them takes 6 ms."""

    def __init__(self) -> None:
        pass

    def add_argument(self, *_names: object, **_options: object) -> argparse.Action:
        """Ignore the argument."""
        return argparse.Action([], "")


def add_dry_run(to: Parser, text: str) -> None:
    """The flag of each command whose call of the runtime has a plan."""
    to.add_argument("--dry-run", action="store_true", help=text)


def parser(asked: str = "") -> Parser:
    """The parser of one command; of all commands for "" or a flag. Raises Error for an unknown command."""
    top = Parser(
        prog="ocipy box",
        description="Run containers from images, with limits and a network, with one command.",
        epilog="example: ocipy box run -it --memory 50M busybox",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    names: list[str] = []

    def add(name: str, function: Command, summary: str, calls: str = "") -> Parser:
        names.append(name)
        if asked and name != asked:
            return Unasked()
        made: Parser = commands.add_parser(name, help=summary, description=summary, epilog=calls)
        made.set_defaults(command_function=function, called=name)
        return made

    run_parser = add("run", actions.run, "create a box from an image and run a command in it")
    run_parser.add_argument("-d", "--detach", action="store_true", help="run in the background and print the id")
    run_parser.add_argument("--rm", action="store_true", help="remove the box when it ends")
    run_parser.add_argument("--pull", action="store_true", help="fetch the image even if it is stored already")
    add_dry_run(run_parser, "print config.json and the plan; create nothing")
    add_run_flags(run_parser)
    create_parser = add("create", actions.create, "create a box without running it")
    create_parser.add_argument("--rm", action="store_true", help="remove the box when it ends")
    create_parser.add_argument("--pull", action="store_true", help="fetch the image even if it is stored already")
    add_dry_run(create_parser, "print config.json and the plan of its start; create nothing")
    add_run_flags(create_parser)
    listing = add("ps", actions.ps, "list boxes")
    listing.add_argument("-a", "--all", action="store_true", help="include boxes that are not running")
    listing.add_argument("-q", "--quiet", action="store_true", help="print only ids")
    starting = add("start", actions.start, "start boxes in the background")
    add_dry_run(starting, "print config.json and the plan; start nothing")
    starting.add_argument("boxes", nargs="+", metavar="BOX")
    waiting = add("wait", actions.wait, "wait until boxes end, and print their exit statuses")
    waiting.add_argument("boxes", nargs="+", metavar="BOX")
    for name, function, summary in (
        ("stop", actions.stop, "stop boxes: send a signal, then SIGKILL"),
        ("restart", actions.restart, "stop boxes and start them again"),
    ):
        stopping = add(name, function, summary, f"{STOPS}; its end calls {DELETE}")
        if name == "restart":
            add_dry_run(stopping, "print config.json and the plan of the start; change nothing")
        stopping.add_argument(
            "-t", "--time", type=seconds, default=10.0, metavar="SECONDS", help="time to wait before SIGKILL (10)"
        )
        stopping.add_argument("boxes", nargs="+", metavar="BOX")
    killing = add("kill", actions.kill, "send a signal to boxes", "calls: ocipy kill ID SIGNAL")
    killing.add_argument("-s", "--signal", default="KILL", metavar="SIGNAL", help="signal to send (KILL)")
    killing.add_argument("boxes", nargs="+", metavar="BOX")
    removing = add(
        "rm", actions.rm, "remove boxes and everything they have written",
        f"calls: with -f, ocipy kill --all ID KILL if it runs; then {DELETE}",
    )  # fmt: skip
    removing.add_argument("-f", "--force", action="store_true", help="even if they are running")
    removing.add_argument("boxes", nargs="+", metavar="BOX")
    executing = add("exec", actions.execute, "run another command in a box")
    executing.add_argument("-i", "--interactive", action="store_true", help="keep standard input open")
    executing.add_argument("-t", "--tty", action="store_true", help="allocate a terminal")
    executing.add_argument("-d", "--detach", action="store_true", help="run in the background")
    add_dry_run(executing, "print the plan; run nothing")
    executing.add_argument("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]",
        help="set a variable; without a value, pass on the caller's")  # fmt: skip
    executing.add_argument("-u", "--user", default="", metavar="USER[:GROUP]", help="user and group, by name or number")
    executing.add_argument("-w", "--workdir", default="", metavar="DIR", help="working directory")
    executing.add_argument("box", metavar="BOX")
    executing.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND …")
    logging = add("logs", actions.logs, "print the output of a box in the background")
    logging.add_argument("-f", "--follow", action="store_true", help="continue until the box ends")
    logging.add_argument("box", metavar="BOX")
    add("images", actions.images, "list images")
    add("pull", actions.pull, "fetch an image").add_argument("image", metavar="IMAGE")
    clearing = add("rmi", actions.rmi, "remove images")
    clearing.add_argument("-f", "--force", action="store_true", help="ignore images that do not exist")
    clearing.add_argument("images", nargs="+", metavar="IMAGE")
    add("attach", actions.attach, "connect to the streams of a box in the background").add_argument(
        "box", metavar="BOX"
    )
    copying = add("cp", actions.copy, "copy files between the host and a box (BOX:PATH)")
    copying.add_argument(
        "-L", "--follow-link", action="store_true", help="if SOURCE is a symlink, copy what it leads to"
    )
    copying.add_argument("source", metavar="SOURCE")
    copying.add_argument("target", metavar="TARGET")
    add("diff", actions.diff, "list the files that a box has changed").add_argument("box", metavar="BOX")
    inspecting = add("inspect", actions.inspect_boxes, "show everything known about boxes")
    inspecting.add_argument("--format", choices=("text", "json"), default="text", help="output format (text)")
    inspecting.add_argument("boxes", nargs="+", metavar="BOX")
    add("explain", actions.explain_box, "explain what isolates a box, and where to see that").add_argument(
        "box", metavar="BOX"
    )
    for name, function, summary in (
        ("stats", actions.stats, "show the resource usage of boxes, continuously"),
        ("top", actions.top, "show the processes of a box, continuously"),
    ):
        watching = add(name, function, summary)
        watching.add_argument("--no-stream", action="store_true", help="show it once")
        watching.add_argument("boxes", nargs="*" if name == "stats" else 1, metavar="BOX")
    for name, function in ((ENDED, actions.end), ("_watch", actions.watch)):  # for ourselves
        inner = commands.add_parser(name)
        inner.set_defaults(command_function=function)
        inner.add_argument("box")
    if asked in commands.choices or not asked:
        return top
    if asked.startswith("-"):
        return parser()
    meant = did_you_mean(asked, names, "ocipy box ")
    raise unknown_word(f"no such command: {asked}", meant, "ocipy box --help lists the commands")

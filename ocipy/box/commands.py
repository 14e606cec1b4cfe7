"""The commands of `ocipy box`: COMMANDS has a row for each, and the functions above it add their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

from ocipy.box import actions
from ocipy.box.boxes import Boxes
from ocipy.box.flags import add_run_flags
from ocipy.box.orphans import ENDED
from ocipy.box.sizes import seconds

Parser = argparse.ArgumentParser

DELETE = "ocipy delete --force ID"
STOPS = (
    "calls: ocipy kill ID with the image's stop signal (TERM), and after SECONDS ocipy kill ID KILL; "
    f"when the box has ended, {DELETE}"
)


class Command(NamedTuple):
    """summary: its line in the help; "" for a command that only ocipy itself calls. calls: which commands of the
    runtime it calls, for the end of its help."""

    name: str
    run: Callable[[Boxes, argparse.Namespace], int]
    summary: str
    add_arguments: Callable[[Parser], None]
    calls: str = ""


def _none(_parser: Parser) -> None:
    """No arguments."""


def _box(parser: Parser) -> None:
    parser.add_argument("box", metavar="BOX")


def _boxes(parser: Parser) -> None:
    parser.add_argument("boxes", nargs="+", metavar="BOX")


def _dry_run(parser: Parser, text: str) -> None:
    """The flag of each command whose call of the runtime has a plan."""
    parser.add_argument("--dry-run", action="store_true", help=text)


def _rm_and_pull(parser: Parser) -> None:
    add = parser.add_argument
    add("--rm", action="store_true", help="remove the box when it ends")
    add("--pull", action="store_true", help="fetch the image even if it is stored already")


def _run(parser: Parser) -> None:
    parser.add_argument("-d", "--detach", action="store_true", help="run in the background and print the id")
    _rm_and_pull(parser)
    _dry_run(parser, "print config.json and the plan; create nothing")
    add_run_flags(parser)


def _create(parser: Parser) -> None:
    _rm_and_pull(parser)
    _dry_run(parser, "print config.json and the plan of its start; create nothing")
    add_run_flags(parser)


def _ps(parser: Parser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="include boxes that are not running")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only ids")


def _start(parser: Parser) -> None:
    _dry_run(parser, "print config.json and the plan; start nothing")
    _boxes(parser)


def _stop(parser: Parser) -> None:
    text = "time to wait before SIGKILL (10)"
    parser.add_argument("-t", "--time", type=seconds, default=10.0, metavar="SECONDS", help=text)
    _boxes(parser)


def _restart(parser: Parser) -> None:
    _dry_run(parser, "print config.json and the plan of the start; change nothing")
    _stop(parser)


def _kill(parser: Parser) -> None:
    parser.add_argument("-s", "--signal", default="KILL", metavar="SIGNAL", help="signal to send (KILL)")
    _boxes(parser)


def _rm(parser: Parser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="even if they are running")
    _boxes(parser)


def _exec(parser: Parser) -> None:
    add = parser.add_argument
    add("-i", "--interactive", action="store_true", help="keep standard input open")
    add("-t", "--tty", action="store_true", help="allocate a terminal")
    add("-d", "--detach", action="store_true", help="run in the background")
    _dry_run(parser, "print the plan; run nothing")
    text = "set a variable; without a value, pass on the caller's"
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help=text)
    add("-u", "--user", default="", metavar="USER[:GROUP]", help="user and group, by name or number")
    add("-w", "--workdir", default="", metavar="DIR", help="working directory")
    _box(parser)
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND …")


def _logs(parser: Parser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="continue until the box ends")
    _box(parser)


def _pull(parser: Parser) -> None:
    parser.add_argument("image", metavar="IMAGE")


def _rmi(parser: Parser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="ignore images that do not exist")
    parser.add_argument("images", nargs="+", metavar="IMAGE")


def _cp(parser: Parser) -> None:
    text = "if SOURCE is a symlink, copy what it leads to"
    parser.add_argument("-L", "--follow-link", action="store_true", help=text)
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("target", metavar="TARGET")


def _inspect(parser: Parser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="output format (text)")
    _boxes(parser)


def _no_stream(parser: Parser) -> None:
    parser.add_argument("--no-stream", action="store_true", help="show it once")


def _stats(parser: Parser) -> None:
    _no_stream(parser)
    parser.add_argument("boxes", nargs="*", metavar="BOX")


def _top(parser: Parser) -> None:
    _no_stream(parser)
    parser.add_argument("boxes", nargs=1, metavar="BOX")


COMMANDS = (
    Command("run", actions.run, "create a box from an image and run a command in it", _run),
    Command("create", actions.create, "create a box without running it", _create),
    Command("ps", actions.ps, "list boxes", _ps),
    Command("start", actions.start, "start boxes in the background", _start),
    Command("wait", actions.wait, "wait until boxes end, and print their exit statuses", _boxes),
    Command("stop", actions.stop, "stop boxes: send a signal, then SIGKILL", _stop, STOPS),
    Command("restart", actions.restart, "stop boxes and start them again", _restart, STOPS),
    Command("kill", actions.kill, "send a signal to boxes", _kill, "calls: ocipy kill ID SIGNAL"),
    Command(
        "rm", actions.rm, "remove boxes and everything they have written", _rm,
        f"calls: with -f, ocipy kill --all ID KILL if it runs; then {DELETE}",
    ),
    Command("exec", actions.execute, "run another command in a box", _exec),
    Command("logs", actions.logs, "print the output of a box in the background", _logs),
    Command("images", actions.images, "list images", _none),
    Command("pull", actions.pull, "fetch an image", _pull),
    Command("rmi", actions.rmi, "remove images", _rmi),
    Command("attach", actions.attach, "connect to the streams of a box in the background", _box),
    Command("cp", actions.copy, "copy files between the host and a box (BOX:PATH)", _cp),
    Command("diff", actions.diff, "list the files that a box has changed", _box),
    Command("inspect", actions.inspect_boxes, "show everything known about boxes", _inspect),
    Command("explain", actions.explain_box, "explain what isolates a box, and where to see it", _box),
    Command("stats", actions.stats, "show the resource usage of boxes, continuously", _stats),
    Command("top", actions.top, "show the processes of a box, continuously", _top),
    Command(ENDED, actions.end, "", _box),
    Command("_watch", actions.watch, "", _box),
)  # fmt: skip

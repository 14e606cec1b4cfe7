"""The command line: runc's, flag by flag. Parsing, and errors to exit status.

A command is a module of ocipy.commands with a SUMMARY, a USAGE, FLAGS and `run(arguments)`, which returns the exit
status or raises Error. The hot ones run in Python's core phase; the others have the start completed first. One with
FLAGS_END_AT_ID takes what follows the ID as it is: it is for another program.
"""

from __future__ import annotations

import posix
import sys

from ocipy import SPEC_VERSION, __version__, log
from ocipy.errors import LONGEST_PLACE, Error, place_of, printable, refused, shortened
from ocipy.linux import _kernel
from ocipy.linux.files import hold_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

HOT = ("create", "start", "state", "kill", "delete", "run", "exec", "pause", "resume", "ps", "update", "list")
COLD = ("checkpoint", "restore", "spec", "features", "events", "validate", "plan")


class Flag:
    """One flag: --name and its aliases. kind: "switch", "text", "number" or "list" (may be repeated)."""

    __slots__ = ("aliases", "default", "help", "hidden", "kind", "metavar", "name")

    def __init__(
        self,
        name: str,
        kind: str,
        help: str,
        *,
        aliases: tuple[str, ...] = (),
        metavar: str = "VALUE",
        default: str | int | bool | None = None,
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.help = help
        self.aliases = aliases
        self.metavar = metavar
        self.default = default
        self.hidden = hidden

    def initial(self) -> object:
        """The value where the flag is not given."""
        if self.default is not None:
            return self.default
        return {"switch": False, "text": "", "number": 0, "list": ()}[self.kind]


GLOBALS = (
    Flag("root", "text", "directory of the containers' state", metavar="DIR"),
    Flag("log", "text", "append errors to this file too; journald:NAME, syslog:NAME: send them there", metavar="FILE"),
    Flag("log-format", "text", "format of the log", metavar="text|json", default="text"),
    Flag("debug", "switch", "log each step as it is taken"),
    Flag("systemd-cgroup", "switch", "have systemd make the cgroup: a scope"),
    Flag(
        "cgroup-manager",
        "text",
        "who makes cgroups: the kernel's files by default",
        metavar="cgroupfs|systemd|disabled",
    ),
    Flag("rootless", "text", "act as without the host's rights", metavar="auto|true|false", default="auto"),
    Flag("trace", "text", "write what each step took, as a Chrome trace", metavar="FILE"),
    Flag("error-fd", "number", "tell the error, as JSON, there and not on standard error", metavar="N", hidden=True),
    Flag("criu", "text", "the criu to use (default: that in PATH)", metavar="PATH"),
    Flag("version", "switch", "print the version", aliases=("v",)),
    Flag("help", "switch", "print this help", aliases=("h",)),
)
HELP = Flag("help", "switch", "print this help", aliases=("h",))


# What Go's parser takes for a switch, and so runc's: --detach=1.
BOOLEANS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
BOOLEANS |= dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)


class UsageError(Error):
    """An argument too few or too many; it gets the command's usage as its hint."""

    __slots__ = ()


class Arguments:
    """What was typed: the values of globals and flags by name, the names of those given, the positional arguments."""

    __slots__ = ("given", "positional", "values")

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.given: set[str] = set()
        self.positional: list[str] = []

    def text(self, name: str) -> str:
        """The value of a text flag, "" by default."""
        return str(self.values[name])

    def switch(self, name: str) -> bool:
        """Whether a switch is on."""
        return bool(self.values[name])

    def number(self, name: str) -> int:
        """The value of a number flag."""
        value = self.values[name]
        return value if isinstance(value, int) else 0

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of a list flag, in their order."""
        value = self.values[name]
        return value if isinstance(value, tuple) else ()

    def one(self, what: str) -> str:
        """The only positional argument. Raises Error where there is none, or more."""
        return self.expect(what)[0]

    def expect(self, *names: str, optional: int = 0) -> list[str]:
        """So many positional arguments, the last ones optional. Raises Error."""
        given = self.positional
        if len(given) < len(names) - optional:
            raise UsageError(f"{names[len(given)]} is missing")
        if len(given) > len(names):
            raise UsageError(f"unexpected argument {given[len(names)]!r}")
        return given

    def end_telling(self) -> None:
        """Say by --error-fd that there was no error, and let go of it."""
        fd = self.number("error-fd")
        if fd > 0:
            posix.write(fd, b"\n")
            posix.close(fd)
            self.values["error-fd"] = 0

    @property
    def root(self) -> str:
        """The directory of all state directories: --root, or the default of this user."""
        return state_root(self.text("root"))

    @property
    def cgroup_manager(self) -> str:
        """--cgroup-manager, else --systemd-cgroup: cgroupfs, systemd or disabled. Raises Error."""
        value = self.text("cgroup-manager")
        if value not in ("", "cgroupfs", "systemd", "disabled"):
            raise Error(f"--cgroup-manager is cgroupfs, systemd or disabled, not {value!r}")
        return value or ("systemd" if self.switch("systemd-cgroup") else "cgroupfs")

    @property
    def rootless(self) -> bool | None:
        """--rootless; None for auto. Raises Error."""
        value = self.text("rootless")
        if value not in ("auto", "true", "false"):
            raise Error(f"--rootless is auto, true or false, not {value!r}")
        return None if value == "auto" else value == "true"


def state_root(given: str) -> str:
    """The directory of the state directories, absolute. Raises Error for "/".

    Not by HOME or PATH: engines call kill and delete without them.
    """
    if given:
        if not given.startswith("/"):
            given = posix.getcwd() + "/" + given
        given = given.rstrip("/")
        if not given:
            raise Error("--root / would mix the state with the root directory", hint="name a directory of its own")
        return given
    directory = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    if directory and (posix.geteuid() != 0 or _root_of_user_namespace()):
        return directory.rstrip("/") + "/ocipy"
    return "/run/ocipy"


def _root_of_user_namespace() -> bool:
    from ocipy.container.probe import in_user_namespace

    return in_user_namespace() and posix.environ.get(b"USER") != b"root"


def _flag_hint(name: str, known: dict[str, Flag]) -> str:
    if name not in known and any(name == flag.name for flag in GLOBALS):
        return f"--{name} comes before the command, as all flags that are no command's own"
    _complete_start()
    from ocipy.help import nearest

    return nearest(name, known, "--") or "see --help for the flags that there are"


def parse(words: Sequence[str], flags: Sequence[Flag], arguments: Arguments, stop_at_positional: bool = False) -> int:
    """Parse flags in every form of runc's parser: --flag v, --flag=v, -flag v, before and after the arguments.

    stop_at_positional: only before them. Returns the index of the first word that was not taken, or len(words). Raises
    Error for a flag that is not there, and for a value that is none of its kind.
    """
    known: dict[str, Flag] = {}
    for flag in flags:
        known[flag.name] = flag
        for alias in flag.aliases:
            known[alias] = flag
        arguments.values[flag.name] = flag.initial()
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            if stop_at_positional:
                return index
            arguments.positional += words[index:]
            return len(words)
        if len(word) < 2 or word[0] != "-":
            if stop_at_positional:
                return index - 1
            arguments.positional.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        found = known.get(name)
        if found is None:
            raise Error(f"flag provided but not defined: -{name}", hint=_flag_hint(name, known))
        arguments.given.add(found.name)
        if found.kind == "switch":
            if equals and value not in BOOLEANS:
                raise Error(f"--{name} is true or false, not {value!r}")
            arguments.values[found.name] = BOOLEANS[value] if equals else True
            continue
        if not equals:
            if index == len(words):
                raise Error(f"flag needs an argument: -{name}")
            value = words[index]
            index += 1
        _store(arguments, found, value)
    return len(words)


def _store(arguments: Arguments, flag: Flag, value: str) -> None:
    if flag.kind == "number":
        digits = value[1:] if value[:1] == "-" else value
        if not (digits.isascii() and digits.isdigit()):
            raise Error(f"--{flag.name} needs a number, not {value!r}")
        arguments.values[flag.name] = int(value)
    elif flag.kind == "list":
        old = arguments.values[flag.name]
        arguments.values[flag.name] = (*old, value) if isinstance(old, tuple) else (value,)
    else:
        arguments.values[flag.name] = value


def main(argv: list[str]) -> int:
    """Run one command; argv[0] is the program. Returns the exit status. Never raises."""
    arguments = Arguments()
    status = _main(argv, arguments)
    if arguments.values.get("trace"):
        from ocipy import trace

        trace.end(status)
    return status


def _main(argv: list[str], arguments: Arguments) -> int:
    command = ""
    try:
        command = _command(argv, arguments)
        if not command:
            return _without_command(arguments)
        return _run_command(command, argv, arguments)
    except Error as error:
        return _report(command, arguments, error)
    except OSError as problem:
        file = problem.filename if isinstance(problem.filename, str) else ""
        return _report(command, arguments, refused(problem, place_of(problem.__traceback__), file))
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        return _report(command, arguments, Error("out of memory"))
    except Exception as problem:
        if arguments.values.get("debug"):
            _print_traceback(problem)
        what = f"internal error: {type(problem).__name__}: {problem}"
        return _report(command, arguments, Error(what, hint="a bug of ocipy: --debug shows where"))


def _command(argv: list[str], arguments: Arguments) -> str:
    """Parse the globals; the command, "" if there is none. Raises Error for one that does not exist."""
    index = 1 + parse(argv[1:], GLOBALS, arguments, stop_at_positional=True)
    log_format = arguments.text("log-format")
    log.configure(arguments.text("log"), log_format == "json", arguments.switch("debug"))
    if log_format not in ("text", "json"):
        raise Error(f"--log-format is text or json, not {log_format!r}")
    del argv[1:index]
    if arguments.switch("version") or arguments.switch("help") or len(argv) < 2:
        return ""
    if argv[1] not in HOT and argv[1] not in COLD and argv[1] != "help":
        _complete_start()
        from ocipy.help import no_such_command

        raise no_such_command(argv[1])
    return argv[1]


def _run_command(command: str, argv: list[str], arguments: Arguments) -> int:
    if arguments.values["trace"]:
        from ocipy import trace

        trace.begin(arguments.text("trace"), command)
    # A container gets them; for our own output a closed stream is an error.
    hold_streams(posix.O_RDWR if command in ("create", "run", "exec", "restore") else posix.O_RDONLY)
    if command == "help":
        return _help(argv[2:])
    if command not in HOT:
        _complete_start()
    module = load_command(command)
    words = argv[2:]
    stop = hasattr(module, "FLAGS_END_AT_ID")
    arguments.positional += words[parse(words, (*module.FLAGS, HELP), arguments, stop_at_positional=stop) :]
    if arguments.switch("help"):
        return _help([command])
    try:
        status: int = module.run(arguments)
    except UsageError as error:
        error.hint = f"usage: ocipy {command} {module.USAGE}".rstrip()
        raise
    return status


def load_command(command: str) -> Any:
    """The module of a command."""
    name = "ocipy.commands." + command
    __import__(name)
    return sys.modules[name]


def _without_command(arguments: Arguments) -> int:
    if arguments.switch("version"):
        lines = [
            f"ocipy version {__version__}",
            "commit: v" + __version__,
            "spec: " + SPEC_VERSION,
            "python: " + sys.version.partition(" ")[0],
        ]
        write_stdout("\n".join(lines) + "\n")
        return 0
    return _help([])


def _help(words: list[str]) -> int:
    _complete_start()
    from ocipy import help as help_text

    write_stdout(help_text.for_command(words[0]) if words else help_text.overview())
    return 0


def _complete_start() -> None:
    from ocipy.launcher.python import complete_start

    complete_start()


def write_stdout(text: str) -> None:
    """Write all of a text to standard output. Raises Error where that fails, but for a reader who has had enough."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[posix.write(1, data) :]
    except BrokenPipeError:
        pass
    except OSError as problem:
        raise Error("cannot write to standard output", errno=problem.errno or 0) from None


def _report(command: str, arguments: Arguments, error: Error) -> int:
    place = command
    if command and arguments.positional and arguments.positional[0]:
        place += " " + arguments.positional[0]
    line = f"{printable(shortened(place, LONGEST_PLACE))}: {error.line}" if place else error.line
    log.error(line)
    if not arguments.values.get("error-fd") or not _tell(arguments.number("error-fd"), error):
        log.write_stderr(f"ocipy: {line}\n{error.advice}")
    return error.status


def _tell(fd: int, error: Error) -> bool:
    """The error for the program that has called us (ocipy/library/executable.py); whether it could be told."""
    try:
        posix.write(fd, _kernel.json_dumps(error.to_message()))
    except (OSError, OverflowError):
        return False
    return True


def _print_traceback(problem: Exception) -> None:
    _complete_start()
    import traceback

    log.write_stderr("".join(traceback.format_exception(problem)))

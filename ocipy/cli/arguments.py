"""The arguments of the command line, compatible with runc's. Words become values by name, or an Error."""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.remembered import Remembered
from ocipy.state.directory import state_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


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
        """The value if the flag is not given."""
        if self.default is not None:
            return self.default
        return {"switch": False, "text": "", "number": 0, "list": ()}[self.kind]


GLOBALS = (
    Flag(
        "root",
        "text",
        "directory of the containers' state (default: /run/ocipy; rootless: $XDG_RUNTIME_DIR/ocipy)",
        metavar="DIR",
    ),
    Flag("log", "text", "also append errors to this file, or send them to journald:NAME, syslog:NAME", metavar="FILE"),
    Flag("log-format", "text", "format of the log", metavar="text|json", default="text"),
    Flag("debug", "switch", "log each step as it is taken"),
    Flag("systemd-cgroup", "switch", "have systemd make the cgroup, as a scope"),
    Flag(
        "cgroup-manager",
        "text",
        "how cgroups are made (default: cgroupfs)",
        metavar="cgroupfs|systemd|disabled",
    ),
    Flag("rootless", "text", "run without root privileges on the host", metavar="auto|true|false", default="auto"),
    Flag("trace", "text", "write how long each step took, as a Chrome trace", metavar="FILE"),
    Flag(
        "error-fd",
        "number",
        "write an error to descriptor N, as JSON, not to stderr",
        metavar="N",
        hidden=True,
    ),
    Flag("criu", "text", "the criu executable (default: the one in PATH)", metavar="PATH"),
    Flag("version", "switch", "print the version", aliases=("v",)),
    Flag("help", "switch", "print this help", aliases=("h",)),
)
HELP = Flag("help", "switch", "print this help", aliases=("h",))


# The values of a switch that Go's flag parser accepts, and therefore runc: --detach=1.
BOOLEANS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
BOOLEANS |= dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)


class UnknownFlag(Error):
    """A flag that the command does not have. typed: with its dashes. known: the command's flags by name."""

    __slots__ = ("known", "typed")

    def __init__(self, typed: str, known: dict[str, Flag]) -> None:
        super().__init__(f"flag provided but not defined: {typed}")
        self.typed = typed
        self.known = known


class UsageError(Error):
    """Too few or too many arguments. Its hint becomes the command's usage."""

    __slots__ = ()


class Arguments:
    """What was typed: the values of globals and flags by name, the names of those given, the positional arguments.

    worded: the given flags that take one of several words. The others are left alone: checking them would cost a page
    of memory each.
    """

    __slots__ = ("given", "positional", "values", "worded")

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.given: set[str] = set()
        self.positional: list[str] = []
        self.worded: list[Flag] = []

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
        """The values of a list flag, in the order given."""
        value = self.values[name]
        return value if isinstance(value, tuple) else ()

    def one(self, what: str) -> str:
        """The only positional argument. Raises Error if there is none, or more than one."""
        return self.expect(what)[0]

    def expect(self, *names: str, optional: int = 0) -> list[str]:
        """The positional arguments, one for each name; the last `optional` may be missing. Raises Error."""
        given = self.positional
        if len(given) < len(names) - optional:
            raise UsageError(f"{names[len(given)]} is missing")
        if len(given) > len(names):
            raise UsageError(f"unexpected argument {given[len(names)]!r}")
        return given

    def end_telling(self) -> None:
        """Tell the caller through --error-fd that there was no error, and close it."""
        fd = self.number("error-fd")
        if fd > 0:
            posix.write(fd, b"\n")
            posix.close(fd)
            self.values["error-fd"] = 0

    @property
    def root(self) -> str:
        """The directory of all state directories: --root, or this user's default."""
        return state_root(self.text("root"))

    @property
    def cgroup_manager(self) -> str:
        """--cgroup-manager, else --systemd-cgroup: cgroupfs, systemd or disabled."""
        return self.text("cgroup-manager") or ("systemd" if self.switch("systemd-cgroup") else "cgroupfs")

    @property
    def rootless(self) -> bool | None:
        """--rootless; None for auto."""
        value = self.text("rootless")
        return None if value == "auto" else value == "true"

    def check_words(self) -> None:
        """Raise Error for a value that is not among the words of its flag, such as text|json."""
        for flag in self.worded:
            words, value = flag.metavar.split("|"), self.text(flag.name)
            if value not in words and value != flag.initial():
                raise Error(f"--{flag.name} must be {', '.join(words[:-1])} or {words[-1]}, not {value!r}")


def _table(flags: tuple[Flag, ...]) -> tuple[dict[str, Flag], dict[str, object]]:
    """The flags by name and alias, and the values of those that are not given."""
    known = {name: flag for flag in flags for name in (flag.name, *flag.aliases)}
    return known, {flag.name: flag.initial() for flag in flags}


TABLES = Remembered(_table)


def parse(
    words: Sequence[str],
    flags: tuple[Flag, ...],
    arguments: Arguments,
    stop_at_positional: bool = False,
) -> int:
    """Parse flags in every form that runc accepts: --flag v, --flag=v, -flag v, before and after the arguments.

    stop_at_positional: accept flags only before the arguments. Returns the index of the first word that was not parsed,
    or len(words). Raises UnknownFlag, or Error for a value of the wrong kind.
    """
    known, initial = TABLES[flags]
    arguments.values |= initial
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
        typed = word.partition("=")[0]
        if found is None:
            raise UnknownFlag(typed, known)
        arguments.given.add(found.name)
        if found.kind == "switch":
            if equals and value not in BOOLEANS:
                raise Error(f"{typed} must be true or false, not {value!r}")
            arguments.values[found.name] = BOOLEANS[value] if equals else True
            continue
        if not equals:
            if index == len(words):
                raise Error(f"flag needs an argument: {typed}")
            value = words[index]
            index += 1
        _store(arguments, found, typed, value)
    return len(words)


def _store(arguments: Arguments, flag: Flag, typed: str, value: str) -> None:
    if flag.kind == "number":
        digits = value[1:] if value[:1] == "-" else value
        if not (digits.isascii() and digits.isdigit()):
            raise Error(f"{typed} needs a number, not {value!r}")
        arguments.values[flag.name] = int(value)
    elif flag.kind == "list":
        old = arguments.values[flag.name]
        arguments.values[flag.name] = (*old, value) if isinstance(old, tuple) else (value,)
    else:
        arguments.values[flag.name] = value
        if "|" in flag.metavar:
            arguments.worded.append(flag)

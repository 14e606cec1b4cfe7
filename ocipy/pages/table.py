"""The command table for pages: every command with its flags, and the kind of each value and argument."""

from __future__ import annotations

from dataclasses import dataclass

from ocipy.cli import arguments
from ocipy.cli.arguments import Flag
from ocipy.cli.table import COLD, HOT, load_command
from ocipy.linux import signals

# Values that a shell can complete, by their word in the help: files, directories, ids, signals, boxes, images.
KINDS = {
    "FILE": "file", "PATH": "file", "DIR": "dir", "BUNDLE": "dir", "ID": "id", "SIGNAL": "signal", "BOX": "box",
    "IMAGE": "image", "SOURCE": "file", "TARGET": "file",
}  # fmt: skip
# Anything else.
TEXT = "text"


@dataclass(frozen=True)
class CommandPage:
    """A command; without a name it is ocipy itself, with the global flags. Those of box are named "box run", …

    ends_at_id: the words after the id, or the first argument, are another program's command line.
    repeats: the last argument may be given again.
    """

    name: str
    summary: str
    usage: str
    flags: tuple[Flag, ...]
    ends_at_id: bool = False
    repeats: bool = False

    @property
    def arguments(self) -> list[str]:
        """The words for the positional arguments, in order: ID, SIGNAL, …"""
        words = (word.strip("[]….") for word in self.usage.split())
        return [word for word in words if word and word != "FLAGS"]


def all_commands() -> tuple[CommandPage, ...]:
    """ocipy itself, and every command."""
    commands = [CommandPage("", "run OCI containers", "[GLOBALS] COMMAND [FLAGS] …", _shown(arguments.GLOBALS))]
    for name in sorted((*HOT, *COLD)):
        module = load_command(name)
        flags = _shown((*module.FLAGS, arguments.HELP))
        ends_at_id = hasattr(module, "FLAGS_END_AT_ID")
        commands.append(CommandPage(name, module.SUMMARY, module.USAGE, flags, ends_at_id))
    return tuple(commands)


def _shown(flags: tuple[Flag, ...]) -> tuple[Flag, ...]:
    return tuple(flag for flag in flags if not flag.hidden)


def spellings(flag: Flag) -> list[str]:
    """The flag's names as typed: --bundle, -b."""
    return ["--" + flag.name, *("-" + alias for alias in flag.aliases)]


def kind(word: str) -> str:
    """How to complete a value with this word in the help: one of KINDS, "a|b" for these words, or TEXT."""
    if "|" in word and word == word.lower():
        return word
    return KINDS.get(word, TEXT)


def choices(word: str) -> list[str]:
    """The possible values for this word in the help; empty for files, ids and free text."""
    found = kind(word)
    return signal_names() if found == "signal" else found.split("|") if "|" in found else []


def signal_names() -> list[str]:
    """The names of signals, as kill accepts them."""
    return sorted(signals.NUMBERS, key=signals.NUMBERS.__getitem__)

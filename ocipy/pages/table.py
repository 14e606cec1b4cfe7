"""The command table as pages need it: every command with its flags, and what each value and argument is."""

from __future__ import annotations

from dataclasses import dataclass

from ocipy.cli import arguments
from ocipy.cli.arguments import Flag
from ocipy.cli.table import COLD, HOT, load_command
from ocipy.linux import signals

# What a shell can complete, by the word that help has for the value: files, directories, ids, signals.
KINDS = {"FILE": "file", "PATH": "file", "DIR": "dir", "BUNDLE": "dir", "ID": "id", "SIGNAL": "signal"}
# Anything else.
TEXT = "text"


@dataclass(frozen=True)
class Command:
    """A command; the one without a name is ocipy itself, with the global flags.

    ends_at_id: what follows the id is somebody else's command line.
    """

    name: str
    summary: str
    usage: str
    flags: tuple[Flag, ...]
    ends_at_id: bool = False

    @property
    def arguments(self) -> list[str]:
        """The words for the positional arguments, in order: ID, SIGNAL, …"""
        words = (word.strip("[]….") for word in self.usage.split())
        return [word for word in words if word and word != "FLAGS"]


def table() -> tuple[Command, ...]:
    """ocipy itself, and every command."""
    commands = [Command("", "run OCI containers", "[GLOBALS] COMMAND [FLAGS] …", _shown(arguments.GLOBALS))]
    for name in sorted((*HOT, *COLD)):
        module = load_command(name)
        flags = _shown((*module.FLAGS, arguments.HELP))
        ends_at_id = hasattr(module, "FLAGS_END_AT_ID")
        commands.append(Command(name, module.SUMMARY, module.USAGE, flags, ends_at_id))
    return tuple(commands)


def _shown(flags: tuple[Flag, ...]) -> tuple[Flag, ...]:
    return tuple(flag for flag in flags if not flag.hidden)


def spellings(flag: Flag) -> list[str]:
    """The flag's names as they are typed: --bundle, -b."""
    return ["--" + flag.name, *("-" + alias for alias in flag.aliases)]


def kind(word: str) -> str:
    """What completes a value that help calls by this word: one of KINDS, "a|b" for these words, or TEXT."""
    if "|" in word and word == word.lower():
        return word
    return KINDS.get(word, TEXT)


def choices(word: str) -> list[str]:
    """The words to choose from for a value that help calls by this word; none where it is a file, an id, any text."""
    found = kind(word)
    return signal_names() if found == "signal" else found.split("|") if "|" in found else []


def signal_names() -> list[str]:
    """The names of signals, as kill takes them."""
    return sorted(signals.NUMBERS, key=signals.NUMBERS.__getitem__)

"""The text of --help, made from the command table. Cold."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable

from ocipy import cli
from ocipy.errors import Error

WIDTH = 30


def overview() -> str:
    """ocipy --help."""
    lines = [
        "ocipy runs OCI containers.",
        "",
        "usage: ocipy [GLOBALS] COMMAND [FLAGS] …",
        "",
        "Commands:",
    ]
    for name in (*cli.HOT, *cli.COLD):
        module = importlib.import_module("ocipy.commands." + name)
        lines.append(f"  {name:{WIDTH - 4}}{module.SUMMARY}")
    lines += ["", "Globals:", *_flags(cli.GLOBALS), "", "ocipy COMMAND --help explains a command."]
    return "\n".join(lines) + "\n"


def for_command(name: str) -> str:
    """ocipy COMMAND --help. Raises Error for a command that is none."""
    if name not in cli.HOT and name not in cli.COLD:
        raise no_such_command(name)
    module = importlib.import_module("ocipy.commands." + name)
    usage = f"usage: ocipy {name} {module.USAGE}"
    return "\n".join([module.SUMMARY, "", usage, "", "Flags:", *_flags((*module.FLAGS, cli.HELP))]) + "\n"


def no_such_command(name: str) -> Error:
    """The error for a word that is no command."""
    hint = nearest(name, (*cli.HOT, *cli.COLD), "ocipy ") or "ocipy --help lists the commands"
    return Error(f"no such command: {name}", hint=hint)


def nearest(word: str, known: Iterable[str], before: str) -> str:
    """A hint at what was meant by a word with a slip in it, "" if nothing is near."""
    found = difflib.get_close_matches(word, [name for name in known if len(name) > 1], 1)
    return f"did you mean {before}{found[0]}?" if found else ""


def _flags(flags: tuple[cli.Flag, ...]) -> list[str]:
    lines = []
    for flag in flags:
        if flag.hidden:
            continue
        names = ", ".join([*("-" + alias for alias in flag.aliases), "--" + flag.name])
        if flag.kind != "switch":
            names += " " + flag.metavar
        text = flag.help
        if flag.default not in (None, ""):
            text += f" (default: {flag.default})"
        if len(names) > WIDTH - 4:
            lines.append("  " + names)
            names = ""
        lines.append(f"  {names:{WIDTH - 4}} {text}")
    return lines

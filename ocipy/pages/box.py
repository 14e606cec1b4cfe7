"""The commands of `ocipy box`, as table.py has the others."""

from __future__ import annotations

import argparse
import re

from ocipy.box.cli import parser
from ocipy.cli import arguments
from ocipy.cli.arguments import Flag
from ocipy.pages.table import CommandPage


def commands() -> tuple[CommandPage, ...]:
    """Every command of box; the names begin with "box"."""
    found = []
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, its in action.choices.items():
                if its.description is not None:  # not one that only ocipy itself calls
                    found.append(_command(name, its))
    return tuple(sorted(found, key=lambda command: command.name))


def _command(name: str, parsed: argparse.ArgumentParser) -> CommandPage:
    flags = tuple(_flag(action) for action in parsed._actions if action.option_strings)
    positional = [action for action in parsed._actions if not action.option_strings]
    usage = " ".join(["[FLAGS]", *map(_word, positional)])
    ends_at_id = any(action.nargs == argparse.REMAINDER for action in positional)
    repeats = any(action.nargs in ("+", "*") for action in positional)
    return CommandPage(f"box {name}", str(parsed.description), usage, flags, ends_at_id, repeats)


def _word(action: argparse.Action) -> str:
    word = (str(action.metavar) if action.metavar else action.dest.upper()).removesuffix(" …")
    if action.nargs == "+":
        return f"{word} …"
    return f"[{word} …]" if action.nargs in ("*", argparse.REMAINDER) else word


def _flag(action: argparse.Action) -> Flag:
    names = action.option_strings
    name = next((name for name in names if name.startswith("--")), names[0])
    # Their help has a default in parentheses: "(KILL)".
    text = re.sub(r"^\((.*)\)$", r"default: \1", (action.help or "").replace("%%", "%"))
    if name == "--help":
        text = arguments.HELP.help
    kind = "switch" if action.nargs == 0 else "list" if isinstance(action, argparse._AppendAction) else "text"
    metavar = "|".join(action.choices) if action.choices else str(action.metavar or "VALUE")
    aliases = tuple(other[1:] for other in names if other != name)
    return Flag(name.removeprefix("--"), kind, text, aliases=aliases, metavar=metavar)

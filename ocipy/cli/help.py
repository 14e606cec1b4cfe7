"""The text of --help, made from the command table. Cold."""

from __future__ import annotations

from ocipy.cli import arguments
from ocipy.cli.elsewhere import command_elsewhere, flag_elsewhere
from ocipy.cli.table import COLD, HOT, load_command
from ocipy.errors import Error, did_you_mean

WIDTH = 30
EXAMPLE = """\
Example:
  mkdir -p bundle/rootfs             # fill it with a root filesystem
  ocipy spec --bundle bundle         # writes config.json
  ocipy validate bundle              # every finding
  ocipy run --bundle bundle web      # web is the container's ID
"""


def overview() -> str:
    """ocipy --help."""
    lines = [
        "ocipy runs OCI containers.",
        "",
        "usage: ocipy [GLOBALS] COMMAND [FLAGS] …",
        "",
        "Commands:",
    ]
    for name in (*HOT, *COLD):
        module = load_command(name)
        lines.append(f"  {name:{WIDTH - 4}}{module.SUMMARY}")
    lines += ["", "Globals:", *_flags(arguments.GLOBALS), "", EXAMPLE, "ocipy COMMAND --help explains a command."]
    return "\n".join(lines) + "\n"


def for_command(name: str) -> str:
    """ocipy COMMAND --help. Raises Error for an unknown command."""
    if name == "help":
        return _text("print the help of ocipy, or of a command", "help [COMMAND]", ())
    if name not in HOT and name not in COLD:
        raise no_such_command(name)
    module = load_command(name)
    if hasattr(module, "help_text"):
        return str(module.help_text())
    return _text(module.SUMMARY, f"{name} {module.USAGE}".rstrip(), module.FLAGS)


def _text(summary: str, usage: str, flags: tuple[arguments.Flag, ...]) -> str:
    return "\n".join([summary, "", f"usage: ocipy {usage}", "", "Flags:", *_flags((*flags, arguments.HELP))]) + "\n"


def no_such_command(name: str) -> Error:
    """The error for an unknown command."""
    hint = command_elsewhere(name) or did_you_mean(name, (*HOT, *COLD), "ocipy ")
    return Error(f"no such command: {name}", hint=hint or "ocipy --help lists the commands")


def hint_for_flag(typed: str, known: dict[str, arguments.Flag], command: str) -> str:
    """What an unknown flag was probably meant to be. typed: with its dashes. command: "" for the globals."""
    name = typed.lstrip("-")
    if command and any(name == flag.name for flag in arguments.GLOBALS):
        return f"--{name} is a global flag: put it before the command"
    hint = flag_elsewhere(name, command) or did_you_mean(name, known, "--")
    return hint or f"{' '.join(filter(None, ('ocipy', command, '--help')))} lists the flags"


def _flags(flags: tuple[arguments.Flag, ...]) -> list[str]:
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

"""Man pages, in the macros of man(7): one for ocipy itself, one for each command."""

from __future__ import annotations

import textwrap

from ocipy.cli.arguments import Flag
from ocipy.pages.markdown import Section, inline
from ocipy.pages.table import Command, spellings
from ocipy.version import VERSION

EXIT_STATUS = (
    ("0", "Done."),
    ("1", "An error; standard error has the message."),
    ("255", "An error of **exec** itself."),
    ("other", "**run** and **exec** in the foreground: that of the process, or 128 + the signal that ended it. "
     "A **create** or **run** that is interrupted: 128 + the signal."),
)  # fmt: skip
FILES = (
    ("/run/ocipy", "The containers' state, unless **--root** names another directory."),
    ("$XDG_RUNTIME_DIR/ocipy", "The same for users other than the host's root."),
)
ENVIRONMENT = (
    ("XDG_RUNTIME_DIR", "See below, Files."),
    (
        "LISTEN_FDS",
        "The process of **create** and **run** gets so many file descriptors, starting at 3, if LISTEN_PID is its pid "
        "(sd_listen_fds(3)).",
    ),
    ("NOTIFY_SOCKET", "The readiness of the process is passed on to it (sd_notify(3))."),
)


def pages(commands: tuple[Command, ...], documented: dict[str, Section]) -> dict[str, str]:
    """The text of each page by its file name. documented: the commands' descriptions in docs/."""
    ours, *others = commands
    found = {"ocipy.1": overview(ours, others)}
    for command in others:
        found[f"ocipy-{command.name}.1"] = page(command, documented.get(command.name, Section()))
    return found


def overview(ours: Command, others: list[Command]) -> str:
    """ocipy(1)."""
    lines = [*_head("ocipy", ours.summary), ".B ocipy", _text(ours.usage), ".SH DESCRIPTION"]
    lines += [
        _text("**ocipy** makes a container of a bundle: a directory with a **config.json** and a root filesystem, as "
              "the OCI runtime specification has it. Its command line is that of runc(8), so podman(1), Docker and "
              "containerd can use it as their runtime."),
        ".PP",
        _text("Flags are taken as **--flag value**, **--flag=value** and **-flag value**, before and after the other "
              "arguments."),
        ".SH COMMANDS",
    ]  # fmt: skip
    for command in others:
        lines += _entry(f"**ocipy-{command.name}**(1)", _sentence(command.summary))
    lines.append(".SH OPTIONS")
    for flag in ours.flags:
        lines += _option(flag, flag.help)
    for title, entries in (("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        lines.append(f".SH {title}")
        for name, text in entries:
            lines += _entry(f"**{name}**", text)
    return _page([*lines, *_see_also(*(f"ocipy-{command.name}(1)" for command in others))])


def page(command: Command, section: Section) -> str:
    """ocipy-COMMAND(1)."""
    name = f"ocipy-{command.name}"
    usage = _text("[GLOBALS]") + rf" \fB{_escaped(command.name)}\fR " + _text(command.usage)
    lines = [*_head(name, command.summary), ".B ocipy", usage.rstrip()]
    lines += [".SH DESCRIPTION", *(_blocks(section) or [_text(_sentence(command.summary))])]
    lines.append(".SH OPTIONS")
    for flag in command.flags:
        # Some tables in docs/ have only the field of config.json that a flag sets.
        lines += _option(flag, max(flag.help, section.flags.get(flag.name, ""), key=len))
    lines += [".PP", _text("The flags that come before the command are in **ocipy**(1).")]
    return _page([*lines, *_see_also("ocipy(1)")])


def _head(name: str, summary: str) -> list[str]:
    title = _escaped(name.upper())
    return [
        r".\" Made from the table of ocipy's commands by ocipy.pages.",
        f'.TH {title} 1 "" "ocipy {VERSION}" "User Commands"',
        # No hyphenation and no stretched lines: readers copy commands.
        ".nh",
        ".ad l",
        ".SH NAME",
        *textwrap.wrap(rf"{_escaped(name)} \- {_escaped(summary)}", 78),
        ".SH SYNOPSIS",
    ]


def _option(flag: Flag, text: str) -> list[str]:
    names = ", ".join(f"**{name}**" for name in spellings(flag))
    value = "" if flag.kind == "switch" else f" {flag.metavar}"
    default = f" (default: {flag.default})" if flag.default not in (None, "") else ""
    again = " May be repeated." if flag.kind == "list" and "repeated" not in text else ""
    return _entry(names + value, _sentence(text.rstrip(".") + default) + again)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _entry(name: str, text: str) -> list[str]:
    return [".TP", _text(name), _text(text)]


def _blocks(section: Section) -> list[str]:
    lines: list[str] = []
    for block in section.blocks:
        if block.example:
            lines += [".PP", ".in +4n", ".EX", *(r"\&" + _escaped(line) for line in block.example), ".EE", ".in"]
        for first, *rest in block.rows:
            lines += _entry(first or "otherwise", "; ".join(cell for cell in rest if cell) or "nothing")
        if block.text:
            lines += [".PP", _text(block.text)]
    return lines[1:] if lines[:1] == [".PP"] else lines


def _see_also(*others: str) -> list[str]:
    return [".SH SEE ALSO", _text(", ".join([*others, "runc(8)", "podman(1)"]))]


def _text(text: str) -> str:
    """A paragraph, with emphasis in bold."""
    words = "".join(rf"\fB{_escaped(piece)}\fR" if bold else _escaped(piece) for bold, piece in inline(text))
    lines = textwrap.wrap(words, 78, break_long_words=False, break_on_hyphens=False)
    return "\n".join(r"\&" + line if line.startswith((".", "'")) else line for line in lines)


def _escaped(text: str) -> str:
    """The text, escaped for roff; hyphens stay ASCII, for copying."""
    return text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga").replace("'", r"\(aq")


def _page(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"

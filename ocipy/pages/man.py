"""Man pages, in the macros of man(7): one for ocipy itself, one for each command.

Made without a converter such as pandoc: every way to install ocipy makes them, and has Python only.
"""

from __future__ import annotations

import re
import textwrap

from ocipy.cli.arguments import Flag
from ocipy.pages.markdown import Block, Section, inline
from ocipy.pages.table import CommandPage, spellings
from ocipy.version import VERSION

EXIT_STATUS = (
    ("0", "Done."),
    ("1", "An error; standard error has the message."),
    ("255", "An error of **exec** itself."),
    ("other", "**run**, **exec** and **restore** in the foreground: the status of the process, or 128 + the signal "
     "that ended it. A **create** or **run** that is interrupted: 128 + the signal."),
)  # fmt: skip
FOREGROUND = ("exec", "restore", "run")
FILES = (
    ("/run/ocipy", "The containers' state, unless **--root** names another directory."),
    ("$XDG_RUNTIME_DIR/ocipy", "The same for users other than the host's root."),
    ("/usr/share/doc/ocipy", "The documentation to which these pages refer, such as *errors.md*; **share/doc/ocipy** "
     "below another prefix."),
)  # fmt: skip
ENVIRONMENT = (
    ("XDG_RUNTIME_DIR", "See **FILES** below."),
    (
        "LISTEN_FDS",
        "The process of **create** and **run** gets this many file descriptors, from 3 upwards, if LISTEN_PID is its "
        "pid (sd_listen_fds(3)).",
    ),
    ("NOTIFY_SOCKET", "The readiness of the process is passed on to it (sd_notify(3))."),
)
EXAMPLE = [
    "mkdir -p bundle/rootfs",
    "ocipy spec --bundle bundle",
    "ocipy validate bundle",
    "ocipy run --bundle bundle web",
]
# The pages that contain a document.
PAGES = {"box.md": "box", "checkpoint.md": "checkpoint", "commands.md": "", "features.md": "features"}


def pages(
    commands: tuple[CommandPage, ...], boxes: tuple[CommandPage, ...], documented: dict[str, Section], date: str
) -> dict[str, str]:
    """The text of each page by its file name.

    documented: the commands' descriptions in docs/, "" for that of ocipy itself. date: of the pages, YYYY-MM-DD.
    """
    ours, *others = commands
    found = {"ocipy.1": overview(ours, others, documented.get("", Section()), date)}
    for command in (*others, *boxes):
        more = boxes if command.name == "box" else ()
        text = page(command, documented.get(command.name, Section()), date, more)
        found[f"{_title(command)}.1"] = text
    return found


def overview(ours: CommandPage, others: list[CommandPage], section: Section, date: str) -> str:
    """ocipy(1)."""
    lines = [*_head("ocipy", ours.summary, date), ".B ocipy", _text(ours.usage), ".SH DESCRIPTION"]
    lines += [
        _text("**ocipy** makes a container from a bundle: a directory with a **config.json** and a root filesystem, as "
              "the OCI runtime specification defines it. Its command line is that of **runc**(8), so **podman**(1), "
              "Docker and containerd can use it as their runtime."),
        ".PP",
        _text("Flags are taken as **--flag value**, **--flag=value** and **-flag value**, before and after the other "
              "arguments."),
        ".SH COMMANDS",
    ]  # fmt: skip
    for command in others:
        lines += _entry(f"**{_title(command)}**(1)", command.summary)
    lines.append(".SH OPTIONS")
    for flag in ours.flags:
        lines += _option(flag, section)
    for title, entries in (("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        lines.append(f".SH {title}")
        for name, text in entries:
            lines += _entry(name if name == "other" else f"**{name}**", text)
    lines += [".SH EXAMPLES", *_blocks([Block(example=EXAMPLE)])]
    return _page([*lines, *_see_also(lines, *(f"**{_title(command)}**(1)" for command in others))])


def page(command: CommandPage, section: Section, date: str, subcommands: tuple[CommandPage, ...] = ()) -> str:
    """ocipy-COMMAND(1)."""
    description, examples = _apart(section)
    if command.name.startswith("box "):
        usage = rf"\fB{_escaped(command.name)}\fR " + _text(command.usage)
    else:
        usage = _text("[GLOBALS]") + rf" \fB{_escaped(command.name)}\fR " + _text(command.usage)
    lines = [*_head(_title(command), command.summary, date), ".B ocipy", usage.rstrip()]
    lines += [".SH DESCRIPTION", *(_blocks(description) or [_text(_sentence(command.summary))])]
    if subcommands:
        lines.append(".SH COMMANDS")
    for other in subcommands:
        lines += _entry(f"**{_title(other)}**(1)", other.summary)
    lines.append(".SH OPTIONS")
    for flag in command.flags:
        lines += _option(flag, section)
    if not command.name.startswith("box "):
        lines += [".PP", _text("The flags that come before the command are in **ocipy**(1).")]
    if command.name != "box":
        lines += [".SH EXIT STATUS", _text(f"{_status(command)}, with the message on standard error.")]
    if examples:
        lines += [".SH EXAMPLES", *_blocks(examples)]
    see = ["**ocipy**(1)"] + (["**ocipy-box**(1)"] if command.name.startswith("box ") else [])
    return _page([*lines, *_see_also(lines, *see)])


def _status(command: CommandPage) -> str:
    """What the exit status means, including errors."""
    ended = "Without **--detach** the status of the process, or 128 + the signal that ended it; otherwise 0"
    if command.name in ("box exec", "box run"):
        error = 125 if command.name == "box run" else 1
        return f"{ended}. 127 if there is no such command, 126 if it cannot be executed, {error} after another error"
    if command.name == "box attach":
        return "That of the box, if it ends and is kept; otherwise 0. 1 after an error, 2 after a usage error"
    if command.name.startswith("box "):
        return "0, 1 after an error, or 2 after a usage error"
    return f"{ended if command.name in FOREGROUND else '0'}, or {255 if command.name == 'exec' else 1} after an error"


def _title(command: CommandPage) -> str:
    return f"ocipy-{command.name.replace(' ', '-')}"


def _apart(section: Section) -> tuple[list[Block], list[Block]]:
    """The description, and the examples that no paragraph announces with a colon."""
    description: list[Block] = []
    examples: list[Block] = []
    for block in section.blocks:
        announced = bool(description) and description[-1].text.endswith(":")
        (examples if block.example and not announced else description).append(block)
    return description, examples


def _head(name: str, summary: str, date: str) -> list[str]:
    title = _escaped(name.upper())
    return [
        r".\" Generated from ocipy's command table by ocipy.pages.",
        f'.TH {title} 1 {date} "ocipy {VERSION}" "User Commands"',
        # No hyphenation and no stretched lines: readers copy commands.
        ".nh",
        ".ad l",
        ".SH NAME",
        *textwrap.wrap(rf"{_escaped(name)} \- {_escaped(summary)}", 78),
        ".SH SYNOPSIS",
    ]


def _option(flag: Flag, section: Section) -> list[str]:
    """What the documentation says about a flag, or else its help, with the field of config.json that it sets."""
    names = ", ".join(f"**{name}**" for name in spellings(flag))
    value = "" if flag.kind == "switch" else f" {flag.metavar}"
    text = section.flags.get(flag.name) or flag.help
    if flag.name in section.fields:
        text += f" (**{section.fields[flag.name]}**)"
    if flag.default not in (None, "") and "default" not in text:
        text += f" (default: {flag.default})"
    if flag.kind == "list" and "repeated" not in text:
        text += "; may be repeated"
    return _entry(names + value, text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _entry(name: str, text: str) -> list[str]:
    return [".TP", _text(name), _text(text)]


def _example(lines: list[str]) -> list[str]:
    return [".PP", ".in +4n", ".EX", *(r"\&" + _escaped(line) for line in lines), ".EE", ".in"]


def _blocks(blocks: list[Block]) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        if block.example:
            lines += _example(block.example)
        for first, *rest in block.rows:
            lines += _entry(first or "otherwise", "; ".join(cell for cell in rest if cell) or "nothing")
        if block.text.startswith("## "):
            lines += [f".SS {_escaped(block.text.removeprefix('## '))}"]
        elif block.text:
            lines += [*([] if lines and lines[-1].startswith(".SS") else [".PP"]), _text(block.text)]
    return lines[1:] if lines[:1] == [".PP"] else lines


def _see_also(lines: list[str], *others: str) -> list[str]:
    """The other pages, and the documents that this one names."""
    documents = sorted(set(re.findall(r"\\fI([a-z\\-]+\.md)\\fR", "\n".join(lines))))
    text = ", ".join([*others, "**runc**(8)", "**podman**(1)"])
    found = [".SH SEE ALSO", _text(text)]
    if documents:
        named = ", ".join(rf"\fI{name}\fR" for name in documents)
        found += [".PP", *textwrap.wrap(named + ": see FILES in " + r"\fBocipy\fR(1).", 78, break_on_hyphens=False)]
    return found


def _text(text: str) -> str:
    """A paragraph, with its fonts."""
    words = "".join(_piece(font, piece) for font, piece in inline(_with_pages(text)))
    wide = _wrapped(words, 72)
    lines = [line for whole in wide for line in ([whole] if _width(whole) <= 80 else _wrapped(whole, 48))]
    return "\n".join(r"\&" + line if line.startswith((".", "'")) else line for line in lines)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _width(line: str) -> int:
    """The width, which mandoc's style limits to 80. mandoc counts a character beyond ASCII as a roff escape."""
    return sum(1 if character.isascii() else len(r"\[u2026]") for character in line)


def _with_pages(text: str) -> str:
    """The text with names of man pages in place of links to the documents that these pages contain."""
    for document, name in PAGES.items():
        shown = f"**ocipy{'-' * bool(name)}{name}**(1)"
        text = re.sub(rf"\[{re.escape(document)}\]\({re.escape(document)}[^)]*\)", shown, text)
    return re.sub(r"(?<!\*)\*([a-z-]+\.md)\*(?!\*)", r"[\1](\1)", text)


def _piece(font: str, text: str) -> str:
    return _escaped(text) if font == "R" else rf"\f{font}{_escaped(text)}\fR"


def _escaped(text: str) -> str:
    """The text, escaped for roff; hyphens stay ASCII, for copying."""
    return text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga").replace("'", r"\(aq")


def _page(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"

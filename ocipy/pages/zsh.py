"""Completion for zsh, using its _arguments."""

from __future__ import annotations

from collections.abc import Sequence

from ocipy.cli.arguments import Flag
from ocipy.pages.table import CommandPage, choices, kind, spellings

SCRIPT = r"""#compdef ocipy
# Completion of ocipy for zsh. Generated from the command table by ocipy.pages.

_ocipy_ids() {
    local -a ids
    ids=(${(f)"$(_call_program ids ocipy ${(q)ocipy_root} list --quiet 2>/dev/null)"})
    compadd -a ids
}

_ocipy_boxes() {
    local -a rows names
    local row
    rows=(${(f)"$(_call_program boxes ocipy box ps --all 2>/dev/null)"})
    for row in $rows[2,-1]; names+=(${${=row}[2]})
    compadd -a names
}

_ocipy_images() {
    local -a rows names
    rows=(${(f)"$(_call_program images ocipy box images 2>/dev/null)"})
    names=(busybox ${${rows[2,-1]%% *}:#-})
    compadd -a names
    _files
}

_ocipy_box() {
    local curcontext=$curcontext state line
    local -a commands
    commands=(
@boxes@
    )
    _arguments -C \
        '1:command:->command' \
        '*::argument:->argument' && return
    case $state in
    command) _describe command commands ;;
    argument)
        case $words[1] in
@box_cases@
        esac
        ;;
    esac
}

_ocipy() {
    local curcontext=$curcontext state line
    local -a commands ocipy_root
    local -A opt_args
    commands=(
@commands@
    )
    _arguments -C \
@globals@
        '1:command:->command' \
        '*::argument:->argument' && return
    [[ -n ${opt_args[--root]} ]] && ocipy_root=(--root ${opt_args[--root]})
    case $state in
    command) _describe command commands ;;
    argument)
        curcontext=${curcontext%:*}-$words[1]:
        case $words[1] in
@cases@
        esac
        ;;
    esac
}

_ocipy "$@"
"""
ACTIONS = {"file": "_files", "dir": "_files -/", "id": "_ocipy_ids", "text": " "}
ACTIONS |= {"box": "_ocipy_boxes", "image": "_ocipy_images"}


def completion(commands: tuple[CommandPage, ...], boxes: tuple[CommandPage, ...]) -> str:
    """The script. boxes: the commands of box."""
    ours, *others = commands
    script = SCRIPT.replace("@commands@", _described(others)).replace("@boxes@", _described(boxes))
    script = script.replace("@box_cases@", "\n".join(map(_case, boxes)))
    script = script.replace("@globals@", "\n".join(f"        {_flag(flag)} \\" for flag in ours.flags))
    return script.replace("@cases@", "\n".join(map(_case, others)))


def _described(commands: Sequence[CommandPage]) -> str:
    return "\n".join(f"        {_quoted(_escaped(_last(one)) + ':' + one.summary)}" for one in commands)


def _last(command: CommandPage) -> str:
    """The command's own word."""
    return command.name.rpartition(" ")[2]


def _case(command: CommandPage) -> str:
    if command.name == "box":
        return "        box)\n            _ocipy_box\n            ;;"
    specs = [_flag(flag) for flag in command.flags]
    for number, word in enumerate(command.arguments, 1):
        rest = command.ends_at_id and number > 1
        again = command.repeats and number == len(command.arguments)
        place = "*" if again else str(number)
        specs.append(_quoted(f"*::{word}:_default" if rest else f"{place}:{word}:{_action(word)}"))
        if rest:
            break
    body = " \\\n                ".join(specs)
    return f"        {_last(command)})\n            _arguments \\\n                {body}\n            ;;"


def _flag(flag: Flag) -> str:
    """{-b,--bundle=}'[help]:DIR:action', as _arguments takes it."""
    value = "" if flag.kind == "switch" else f":{flag.metavar}:{_action(flag.metavar)}"
    again = "*" if flag.kind == "list" else ""
    names = [name + ("=" if value and name.startswith("--") else "") for name in spellings(flag)]
    help_text = flag.help.replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
    rest = f"[{help_text}]{value}"
    if len(names) == 1:
        return _quoted(again + names[0] + rest)
    excluded = "" if again else _quoted(f"({' '.join(spellings(flag))})")
    return f"{excluded}{{{','.join(_quoted(again + name) for name in names)}}}{_quoted(rest)}"


def _action(word: str) -> str:
    words = choices(word)
    return f"({' '.join(words)})" if words else ACTIONS[kind(word)]


def _escaped(text: str) -> str:
    return text.replace(":", r"\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"

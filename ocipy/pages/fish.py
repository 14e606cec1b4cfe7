"""Completion for fish: one line per flag."""

from __future__ import annotations

from ocipy.cli.arguments import Flag
from ocipy.pages.table import CommandPage, choices, kind, spellings

HEAD = """# Completion of ocipy for fish. Generated from the command table by ocipy.pages.

# The command that has been typed, with only globals and their values before it. For those of box: "box run".
function __ocipy_command
    set -l words (commandline -opc)
    set -l skip no
    set -l box
    for word in $words[2..-1]
        if test $skip = yes
            set skip no
        else if contains -- $word @valued@
            set skip yes
        else if not string match -q -- '-*' $word
            if test -z "$box" -a $word = box
                set box box
                continue
            end
            string join ' ' $box $word
            return 0
        end
    end
    test -n "$box" && echo box
end

function __ocipy_is
    test (__ocipy_command) = $argv[1] 2>/dev/null
end

function __ocipy_ids
    set -l root
    set -l words (commandline -opc)
    for index in (seq 2 (count $words))
        switch $words[$index]
            case --root -root
                set root --root $words[(math $index + 1)]
            case '--root=*' '-root=*'
                set root $words[$index]
        end
    end
    command ocipy $root list --quiet 2>/dev/null
end

function __ocipy_boxes
    command ocipy box ps --all 2>/dev/null | tail -n +2 | string replace -r '^\\S+\\s+(\\S+).*' '$1'
end

function __ocipy_images
    echo busybox
    command ocipy box images 2>/dev/null | tail -n +2 | string replace -r '\\s.*' '' | string match -v -- -
end

complete -c ocipy -f
"""
VALUES = {
    "file": " -r -F",
    "dir": " -x -a '(__fish_complete_directories)'",
    "id": " -x -a '(__ocipy_ids)'",
    "box": " -x -a '(__ocipy_boxes)'",
    "image": " -r -F -a '(__ocipy_images)'",
    "text": " -x",
}


def completion(commands: tuple[CommandPage, ...], boxes: tuple[CommandPage, ...]) -> str:
    """The script. boxes: the commands of box."""
    ours, *others = commands
    valued = [f"--{flag.name} -{flag.name}" for flag in ours.flags if flag.kind != "switch"]
    lines = [HEAD.replace("@valued@", " ".join(valued))]
    for flag in ours.flags:
        lines.append(_flag("not __ocipy_command", flag))
    for command in others:
        lines.append(f"complete -c ocipy -n 'not __ocipy_command' -a {command.name} -d {_quoted(command.summary)}")
    for command in boxes:
        name = command.name.removeprefix("box ")
        lines.append(f"complete -c ocipy -n '__ocipy_is box' -a {name} -d {_quoted(command.summary)}")
    for command in (*others, *boxes):
        lines.append("")
        condition = f"__ocipy_is {_quoted(command.name)}" if " " in command.name else f"__ocipy_is {command.name}"
        lines += [_flag(condition, flag) for flag in command.flags]
        lines += [
            f"complete -c ocipy -n {_quoted(condition)}{_value(word)}"
            for word in command.arguments
            if _value(word) != VALUES["text"]
        ]
    return "\n".join(lines) + "\n"


def _flag(condition: str, flag: Flag) -> str:
    names = "".join(f" -s {name[1:]}" if len(name) == 2 else f" -l {name[2:]}" for name in spellings(flag))
    value = "" if flag.kind == "switch" else _value(flag.metavar)
    return f"complete -c ocipy -n {_quoted(condition)}{names}{value} -d {_quoted(flag.help)}"


def _value(word: str) -> str:
    words = choices(word)
    return f" -x -a {_quoted(' '.join(words))}" if words else VALUES[kind(word)]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", r"\\").replace("'", r"\'") + "'"

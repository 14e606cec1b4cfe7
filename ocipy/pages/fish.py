"""Completion for fish: one line a flag."""

from __future__ import annotations

from ocipy.cli.arguments import Flag
from ocipy.pages.table import Command, choices, kind

HEAD = """# Completion of ocipy for fish. Made from the table of its commands by ocipy.pages.

# The command that has been typed: nothing before it but globals and their values.
function __ocipy_command
    set -l words (commandline -opc)
    set -l skip no
    for word in $words[2..-1]
        if test $skip = yes
            set skip no
        else if contains -- $word @valued@
            set skip yes
        else if not string match -q -- '-*' $word
            echo $word
            return 0
        end
    end
    return 1
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

complete -c ocipy -f
"""
VALUES = {
    "file": " -r -F",
    "dir": " -x -a '(__fish_complete_directories)'",
    "id": " -x -a '(__ocipy_ids)'",
    "text": " -x",
}


def completion(commands: tuple[Command, ...]) -> str:
    """The script."""
    ours, *others = commands
    valued = [f"--{flag.name} -{flag.name}" for flag in ours.flags if flag.kind != "switch"]
    lines = [HEAD.replace("@valued@", " ".join(valued))]
    for flag in ours.flags:
        lines.append(_flag("not __ocipy_command", flag))
    for command in others:
        lines.append(f"complete -c ocipy -n 'not __ocipy_command' -a {command.name} -d {_quoted(command.summary)}")
    for command in others:
        lines.append("")
        condition = f"__ocipy_is {command.name}"
        lines += [_flag(condition, flag) for flag in command.flags]
        lines += [
            f"complete -c ocipy -n {_quoted(condition)}{_value(word)}"
            for word in command.arguments
            if _value(word) != VALUES["text"]
        ]
    return "\n".join(lines) + "\n"


def _flag(condition: str, flag: Flag) -> str:
    names = f" -l {flag.name}" + "".join(f" -s {alias}" for alias in flag.aliases)
    value = "" if flag.kind == "switch" else _value(flag.metavar)
    return f"complete -c ocipy -n {_quoted(condition)}{names}{value} -d {_quoted(flag.help)}"


def _value(word: str) -> str:
    words = choices(word)
    return f" -x -a {_quoted(' '.join(words))}" if words else VALUES[kind(word)]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", r"\\").replace("'", r"\'") + "'"

"""Completion for bash alone; uses no function of the package bash-completion."""

from __future__ import annotations

from ocipy.pages.table import CommandPage, kind, signal_names, spellings

SCRIPT = r"""# Completion of ocipy for bash. Generated from the command table by ocipy.pages.

# _ocipy_flags COMMAND: its flags, each with what completes its value, if it takes one; without COMMAND, the globals.
_ocipy_flags() {
    case $1 in
@flags@
    esac
}

# _ocipy_arguments COMMAND: what completes its arguments; "+" if the last may be given again.
_ocipy_arguments() {
    case $1 in
@arguments@
    esac
}

# _ocipy_kind COMMAND FLAG: what completes the flag's value, nothing for a switch.
_ocipy_kind() {
    local entry name=${2#-}
    name=${name#-}
    for entry in $(_ocipy_flags "$1"); do
        case $entry in
        "--$name="* | "-$name="*) echo "${entry#*=}" ;;
        esac
    done
}

# _ocipy_column N: this column of a table, without its heading and "-", which stands for nothing.
_ocipy_column() {
    local -a cells
    read -r
    while read -ra cells; do
        [[ ${cells[$1 - 1]} == - ]] || echo "${cells[$1 - 1]}"
    done
}

# _ocipy_complete KIND WORD
_ocipy_complete() {
    case $1 in
    box) mapfile -t COMPREPLY < <(compgen -W "$("$ocipy" box ps --all 2>/dev/null | _ocipy_column 2)" -- "$2") ;;
    image)
        compopt -o filenames
        word=$("$ocipy" box images 2>/dev/null | _ocipy_column 1)
        mapfile -t COMPREPLY < <(compgen -W "busybox $word" -- "$2" | sort -u; compgen -f -- "$2")
        ;;
    dir) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
    file) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
    id) mapfile -t COMPREPLY < <(compgen -W "$("$ocipy" "${root[@]}" list --quiet 2>/dev/null)" -- "$2") ;;
    signal) mapfile -t COMPREPLY < <(compgen -W "@signals@" -- "$2") ;;
    *'|'*) mapfile -t COMPREPLY < <(compgen -W "${1//|/ }" -- "$2") ;;
    esac
}

_ocipy() {
    local ocipy=$1 current=$2 command='' pending='' flag='' word i count=0
    local -a root=() kinds=()
    COMPREPLY=()
    # readline splits words at "=": --root=/x is three, and what is completed after it may be "=". Also at ":", but
    # what follows that is a port, a path in a box, or the like.
    [[ $current == '=' ]] && current=''
    [[ $current == ':'* || ${COMP_WORDS[COMP_CWORD - 1]} == ':'* ]] && return
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == '=' ]]; then
            [[ -n $pending ]] || ((i++))
        elif [[ $word == ':'* ]]; then
            ((i++))
        elif [[ -n $pending ]]; then
            [[ $command$flag == --root || $command$flag == -root ]] && root=(--root "${word/#\~/$HOME}")
            pending=''
        elif [[ $word == -?* ]]; then
            flag=$word
            pending=$(_ocipy_kind "$command" "$word")
        elif [[ -z $command ]]; then
            command=$word
        elif [[ $command == box ]]; then
            command="box $word"
        else
            ((++count))
        fi
    done
    case $command in
    @ending@) ((count)) && return ;;
    esac
    if [[ -n $pending ]]; then
        _ocipy_complete "$pending" "$current"
    elif [[ $current == -* ]]; then
        for word in $(_ocipy_flags "$command"); do
            kinds+=("${word%%=*}")
        done
        mapfile -t COMPREPLY < <(compgen -W "${kinds[*]}" -- "$current")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "@commands@ help" -- "$current")
    else
        read -ra kinds <<<"$(_ocipy_arguments "$command")"
        [[ ${kinds[*]: -1} == + ]] && ((count > ${#kinds[@]} - 2)) && count=$((${#kinds[@]} - 2))
        _ocipy_complete "${kinds[count]:-}" "$current"
    fi
}

complete -F _ocipy ocipy
"""


def completion(commands: tuple[CommandPage, ...], boxes: tuple[CommandPage, ...]) -> str:
    """The script. boxes: the commands of box."""
    commands = (*commands, *boxes)
    flags, arguments = [], []
    for command in commands:
        pattern = f"'{command.name}'" if not command.name or " " in command.name else command.name
        flags.append(f"    {pattern}) echo '{' '.join(_entries(command))}' ;;")
        if command.name not in ("", "box") and command.arguments:
            kinds = [*map(kind, command.arguments), *(["+"] if command.repeats else [])]
            arguments.append(f"    {pattern}) echo '{' '.join(kinds)}' ;;")
    names = [command.name for command in commands if command.name and " " not in command.name]
    arguments.append(f"    box) echo '{'|'.join(name for command in boxes for name in command.name.split()[1:])}' ;;")
    arguments.append(f"    help) echo '{'|'.join(names)}' ;;")
    ending = [f"'{command.name}'" for command in commands if command.ends_at_id and command.name != "box"]
    script = SCRIPT.replace("@flags@", "\n".join(flags)).replace("@arguments@", "\n".join(arguments))
    script = script.replace("@ending@", " | ".join(ending))
    return script.replace("@commands@", " ".join(names)).replace("@signals@", " ".join(signal_names()))


def _entries(command: CommandPage) -> list[str]:
    return [
        spelling if flag.kind == "switch" else f"{spelling}={kind(flag.metavar)}"
        for flag in command.flags
        for spelling in spellings(flag)
    ]

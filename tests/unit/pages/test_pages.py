"""Man pages and completion: complete, and accepted by man and the shells."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import ocipy
from ocipy.cli import arguments
from ocipy.cli.table import COLD, HOT
from ocipy.pages import box
from ocipy.pages.__main__ import DOCUMENTS, date, main, pages, whole
from ocipy.pages.__main__ import examples as examples_of
from ocipy.pages.man import page
from ocipy.pages.markdown import Block, Section, inline, sections
from ocipy.pages.table import CommandPage, all_commands, kind, signal_names, spellings
from tests.harness.host import scaled

TOP = Path(ocipy.__file__).parents[1]
COMMANDS = (*HOT, *COLD)
BOXES = [command.name for command in box.commands()]

# A fake executable: it knows three containers, a fourth below another root, two boxes, and three images.
FAKE = """#!/bin/sh
case "$*" in
"list --quiet") printf 'web\\nwebsocket\\ndb\\n' ;;
"--root /other list --quiet") echo elsewhere ;;
"box ps --all") printf 'ID    NAME    IMAGE    STATUS\\n0123  webbox  busybox  x\\n4567  dbbox   other    x\\n' ;;
"box images") printf 'NAME     DIGEST\\nbusybox  sha256\\nalpine   sha256\\n-        sha256\\n' ;;
esac
"""


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("share")
    main(place, TOP / "docs")
    return place


@pytest.fixture
def bin_path(tmp_path: Path) -> str:
    """A PATH with the stand-in first."""
    (tmp_path / "ocipy").write_text(FAKE)
    (tmp_path / "ocipy").chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def man(share: Path, name: str) -> str:
    return (share / "man/man1" / name).read_text()


def rendered(share: Path, name: str) -> str:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    command = ["mandoc", "-T", "utf8", "-O", "width=500", str(share / "man/man1" / name)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Bold is a letter, a backspace, and the letter again.
    while "\b" in text:
        at = text.index("\b")
        text = text[: at - 1] + text[at + 1 :]
    return text


def test_there_is_a_page_for_each_command(share: Path) -> None:
    names = {path.name for path in (share / "man/man1").iterdir()}
    assert {"box run", "box exec", "box top"} <= set(BOXES)
    assert names == {"ocipy.1", *(f"ocipy-{name.replace(' ', '-')}.1" for name in (*COMMANDS, *BOXES))}


def test_a_page_of_box_has_its_flags_and_words(share: Path) -> None:
    text = rendered(share, "ocipy-box-run.1")
    assert "ocipy box run [FLAGS] IMAGE [COMMAND …]" in text
    assert "--memory, -m, --memory-limit SIZE" in text
    assert "A relative source begins with ./ or ../" in text  # from docs/box.md
    assert "_ended" not in rendered(share, "ocipy-box.1")


@pytest.mark.parametrize("command", box.commands(), ids=lambda command: command.name)
def test_a_page_of_box_has_examples_with_its_flags(share: Path, command: CommandPage) -> None:
    text = man(share, f"ocipy-{command.name.replace(' ', '-')}.1")
    assert ".SH EXIT STATUS" in text
    examples = examples_of(box_section())[command.name]
    known = {spelling for flag in command.flags for spelling in spellings(flag)}
    for example in examples:
        words = re.split("  +", example)[0].split()[3:]
        if command.ends_at_id:
            words = words[: next((at for at, word in enumerate(words) if word in ("busybox", "web")), None)]
        given = {word for word in words if word.startswith("-")}
        assert {flag for word in given for flag in apart(word, known)} <= known, example


def box_section() -> Section:
    return whole((TOP / "docs/box.md").read_text())


def apart(word: str, known: set[str]) -> set[str]:
    """-it is -i and -t."""
    return {word} if word.startswith("--") or word in known else {"-" + letter for letter in word[1:]}


def test_whatis_finds_the_pages_by_their_names(share: Path, tmp_path: Path) -> None:
    """`man -k ocipy`: the line below NAME has one form that the index understands."""
    if shutil.which("lexgrog") is None:
        pytest.skip("lexgrog (package man-db) is not installed")
    pages = sorted((share / "man/man1").iterdir())
    found = subprocess.run(["lexgrog", *map(str, pages)], capture_output=True, text=True, check=True).stdout
    assert [line.split('"')[1].split(" - ")[0] for line in found.splitlines()] == [page.stem for page in pages]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_is_whole(share: Path, command: str) -> None:
    text = man(share, f"ocipy-{command}.1")
    assert "and:" not in text  # what announces a table that the page has elsewhere
    assert ".SH EXAMPLES" in text or command == "box"
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"):
        assert f".SH {section}\n" in text
    for entry in re.findall(r"^\.TP\n.*\n((?:[^.].*\n)+)", text, re.MULTILINE):
        assert len(entry.split()) > 1, entry


def test_a_page_names_only_documents_that_are_installed(share: Path) -> None:
    for path in (share / "man/man1").iterdir():
        text = path.read_text().replace("\\-", "-").replace("\\fI", "")
        for name in re.findall(r"[\w/-]+\.md", text):
            assert (share / "doc/ocipy" / name).exists(), f"{path.name}: {name}"
        assert not re.search(r"\b(docs|tests)/", text), path.name
    for document in (share / "doc/ocipy").glob("*.md"):
        for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", document.read_text()):
            assert (document.parent / image).exists(), f"{document.name}: {image}"


def test_fields_follow_the_text_and_literals_keep_their_letters(share: Path) -> None:
    text = " ".join(rendered(share, "ocipy-update.1").split())
    assert "--cpuset-cpus LIST CPUs, such as 0-3,7 (linux.resources.cpu.cpus)" in text
    assert "--resources, -r FILE all of these fields, as JSON; - is standard input." in text
    assert "METHOD iptables, for which criu calls iptables-restore, nftables" in " ".join(
        rendered(share, "ocipy-checkpoint.1").split()
    )


def test_the_date_is_that_of_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert '.TH OCIPY\\-KILL 1 1970-01-02 "ocipy ' in pages(TOP / "docs")["man/man1/ocipy-kill.1"]
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", date(TOP / "docs"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_every_flag_and_what_the_documentation_says(share: Path, command: str) -> None:
    module = importlib.import_module("ocipy.cli.commands." + command)
    text = rendered(share, f"ocipy-{command}.1")
    for flag in module.FLAGS:
        assert (f"--{flag.name}" in text) is not flag.hidden
    documented: dict[str, Section] = {}
    for name in DOCUMENTS:
        documented |= sections((TOP / "docs" / name).read_text(), COMMANDS)
    assert command in documented, "docs/commands.md has no section of it"
    words = text.split()
    for block in documented[command].blocks if command != "box" else ():
        first = "".join(piece for _, piece in inline(block.text)).split()[:4]
        assert " ".join(first) in " ".join(words)


def test_the_overview_lists_commands_and_globals(share: Path) -> None:
    text = rendered(share, "ocipy.1")
    for command in COMMANDS:
        assert f"ocipy-{command}(1)" in text
    for flag in arguments.GLOBALS:
        assert (f"--{flag.name}" in text) is not flag.hidden


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_finds_nothing(share: Path) -> None:
    pages = sorted(str(path) for path in (share / "man/man1").iterdir())
    found = subprocess.run(["mandoc", "-T", "lint", "-W", "style", *pages], capture_output=True, text=True, check=False)
    assert found.stdout == ""


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_warns_of_nothing(share: Path) -> None:
    for path in sorted((share / "man/man1").iterdir()):
        command = ["groff", "-man", "-K", "utf8", "-T", "utf8", "-ww", "-z", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), path.name


def test_what_roff_would_act_on_is_text() -> None:
    section = sections("## kill ID\n\n.start \\of 'a' `--line`\n\n    .example\\\n", ["kill"])["kill"]
    text = page(CommandPage("kill", "end it", "ID", ()), section, "2026-01-01")
    assert "\\&.start \\eof \\(aqa\\(aq \\fB\\-\\-line\\fR" in text
    assert "\\&.example\\e" in text


def test_sections_of_a_document() -> None:
    text = (
        "# T\n\n## pause ID, resume ID\n\nOne\ntwo.\n\n    $ a\n\n    b\n\n| flag | |\n|---|---|\n"
        "| `--x N`, `-y` | the *x* \\| y |\n"
        "| other | cell |\n\n## ocipy list [X]\n\n- first\n  more\n- second\n\n## nonsense\n\nNo.\n"
    )
    found = sections(text, ["pause", "resume", "list"])
    assert found.keys() == {"pause", "resume", "list"}
    assert found["pause"].blocks == [
        Block("One two."),
        Block(example=["$ a", "", "b"]),
        Block(rows=[["other", "cell"]]),
    ]
    assert found["pause"].flags == {"x": "the *x* | y"}
    assert found["list"].blocks == [Block("• first more"), Block("• second")]
    assert inline("a `b` **c** [d `e`](f)") == [
        ("R", "a "), ("B", "b"), ("R", " "), ("B", "c"), ("R", " "), ("R", "d "), ("B", "e"),
    ]  # fmt: skip


def test_what_completes_a_value() -> None:
    assert [kind(word) for word in ("FILE", "DIR", "ID", "SIGNAL", "N", "text|json")] == [
        "file", "dir", "id", "signal", "text", "text|json",
    ]  # fmt: skip
    assert {command.name for command in all_commands()} == {"", *COMMANDS}
    assert "TERM" in signal_names()


def bash(share: Path, path: str, line: str, directory: Path) -> list[str]:
    """bash's completions for the last word of a line, called like readline."""
    script = f"""
        source {share}/bash-completion/completions/ocipy
        compopt() {{ :; }}  # only within a completion of readline's
        COMP_LINE={line!r}
        read -ra COMP_WORDS <<<"${{COMP_LINE//=/ = }}"
        [[ $COMP_LINE == *' ' || $COMP_LINE == *= ]] && [[ $COMP_LINE != *= ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _ocipy ocipy "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    command = ["bash", "--norc", "-c", script]
    environment = {"PATH": path, "HOME": "/root"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory, env=environment)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ocipy cre", ["create"]),
        ("ocipy --roo", ["--root", "--rootless"]),
        ("ocipy --log-format ", ["text", "json"]),
        ("ocipy --log-format=j", ["json"]),
        ("ocipy --debug sta", ["start", "state"]),
        ("ocipy --root /x sta", ["start", "state"]),
        ("ocipy kill web", ["web", "websocket"]),
        ("ocipy kill --all ", ["web", "websocket", "db"]),
        ("ocipy --root /other kill ", ["elsewhere"]),
        ("ocipy --root=/other kill ", ["elsewhere"]),
        ("ocipy kill web KI", ["KILL"]),
        ("ocipy create --bu", ["--bundle"]),
        ("ocipy create --bundle ", ["one", "other"]),
        ("ocipy create --bundle=on", ["one"]),
        ("ocipy create -b on", ["one"]),
        ("ocipy create --pid-file fi", ["file"]),
        ("ocipy validate o", ["one", "other"]),
        ("ocipy list --format ", ["table", "json"]),
        ("ocipy exec --user 1 ", ["web", "websocket", "db"]),
        ("ocipy exec web --", []),
        ("ocipy help ki", ["kill"]),
        ("ocipy state web ", []),
        ("ocipy nonsense ", []),
        ("ocipy box st", ["start", "stats", "stop"]),
        ("ocipy --debug box expl", ["explain"]),
        ("ocipy box run --mem", ["--memory", "--memory-limit", "--memory-reservation", "--memory-swap"]),
        ("ocipy box run -it --userns ", ["auto", "host"]),
        ("ocipy box run --env-file fi", ["file"]),
        ("ocipy box run -m 50M -p 127.0.0.1:8080:80 -v ./a:/b -e A=b al", ["alpine"]),
        ("ocipy box run ", ["alpine", "busybox", "file", "one", "other"]),
        ("ocipy box run -p 8080:", []),
        ("ocipy box run busybox --mem", []),
        ("ocipy box exec -it web", ["webbox"]),
        ("ocipy box exec webbox ", []),
        ("ocipy box rm -f webbox db", ["dbbox"]),
        ("ocipy box stats webbox dbbox ", ["webbox", "dbbox"]),
        ("ocipy box logs webbox ", []),
        ("ocipy box inspect --format ", ["text", "json"]),
        ("ocipy box kill -s KI", ["KILL"]),
        ("ocipy box cp webbox:/x o", ["one", "other"]),
        ("ocipy box cp webbox:/", []),
        ("ocipy box ps web", []),
        ("ocipy box _", []),
    ],
)
def test_bash_completes(share: Path, bin_path: str, tmp_path: Path, line: str, offered: list[str]) -> None:
    place = tmp_path / "place"
    for directory in ("one", "other"):
        (place / directory).mkdir(parents=True)
    (place / "file").touch()
    assert sorted(bash(share, bin_path, line, place)) == sorted(offered)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ocipy cre", {"create"}),
        ("ocipy --debug sta", {"start", "state"}),
        ("ocipy --root /x sta", {"start", "state"}),
        ("ocipy --log-format ", {"text", "json"}),
        ("ocipy kill web", {"web", "websocket"}),
        ("ocipy --root /other kill ", {"elsewhere"}),
        ("ocipy kill --a", {"--all"}),
        ("ocipy list --format ", {"table", "json"}),
        ("ocipy create --bu", {"--bundle"}),
        ("ocipy box st", {"start", "stats", "stop"}),
        ("ocipy --debug box expl", {"explain"}),
        ("ocipy box run --mem", {"--memory", "--memory-limit"}),
        ("ocipy box run --userns ", {"auto", "host"}),
        ("ocipy box run al", {"alpine"}),
        ("ocipy box rm -f webbox db", {"dbbox"}),
        ("ocipy box exec web", {"webbox"}),
    ],
)
def test_fish_completes(share: Path, bin_path: str, tmp_path: Path, line: str, offered: set[str]) -> None:
    script = f"source {share}/fish/vendor_completions.d/ocipy.fish; complete -C {line!r}"
    environment = {"PATH": bin_path, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, check=False, env=environment)
    found = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert (found & offered) == offered, done.stdout + done.stderr
    assert "create" not in found or "create" in offered


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_it(share: Path) -> None:
    file = share / "zsh/site-functions/_ocipy"
    assert file.read_text().startswith("#compdef ocipy\n")
    done = subprocess.run(["zsh", "-f", "-n", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for command in (*COMMANDS, *(name.removeprefix("box ") for name in BOXES)):
        assert f"\n        {command})\n" in file.read_text()


# zsh with its line editor, on a terminal: Tab, then the whole line.
ZSH = """
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell "PS1= PS2= ; fpath=($1 \\$fpath); autoload -U compinit; compinit -D"
zpty -w shell 'show() { print -r -- "<$BUFFER>"; BUFFER=; }; zle -N show; bindkey "^X" show; print rea""dy'
zpty -r -m shell seen '*ready*'
zpty -w -n shell "$2"$'\\t\\x18'
zpty -r -m shell seen '*<*>*' && print -r -- "${${seen##*<}%%>*}"
zpty -d shell
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("ocipy box expl", "ocipy box explain "),
        ("ocipy box run --memory-s", "ocipy box run --memory-swap="),
        ("ocipy box run -m 50M --userns a", "ocipy box run -m 50M --userns auto "),
        ("ocipy box run --rm al", "ocipy box run --rm alpine "),
        ("ocipy box rm -f webbox db", "ocipy box rm -f webbox dbbox "),
        ("ocipy box exec we", "ocipy box exec webbox "),
    ],
)
def test_zsh_completes(share: Path, bin_path: str, tmp_path: Path, line: str, whole: str) -> None:
    words = ["zsh", "-f", "-c", ZSH, "zsh", str(share / "zsh/site-functions"), line]
    environment = {"PATH": bin_path, "HOME": str(tmp_path), "TERM": "dumb"}
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=scaled(60)
    )
    assert done.stdout == whole + "\n", done.stderr

"""Keep the lines of our pages at 120 columns: `python -m tests.wrap` wraps paragraphs, `--check` only reports.

Only a paragraph or a list item with a longer line is wrapped again. Tables, code and links by reference stay.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
WIDTH = 120
# Stands for a space at which no line may be broken.
GLUE = "\0"

FENCE = re.compile(r" *(```|~~~)")
CODE = re.compile(r" {4}")
ITEM = re.compile(r" *([-*]|\d+\.) +")
# Headings, tables, quotations, HTML, links by reference.
SPECIAL = re.compile(r" *(#|\||>|<|\[[^]]+\]: )")
BEGINS = (FENCE, ITEM, SPECIAL)
# In the middle of a paragraph it is a word, at the beginning of a line it would be markup.
MARKUP = re.compile(r" (?=([-+*#>|=]+|\d+[.)])( |$))")
SPAN = re.compile(r"`[^`]*`")
LONGEST_SPAN = 60


def wrapped(text: str) -> str:
    """The page with its paragraphs wrapped where a line is too long."""
    made: list[str] = []
    for lines, is_prose in _blocks(text.rstrip("\n").split("\n")):
        made += _wrap(lines) if is_prose and any(len(line) > WIDTH for line in lines) else lines
    return "\n".join(made) + "\n"


def too_long(text: str) -> list[int]:
    """The numbers of the lines that are too long, except in tables and code."""
    found, number = [], 1
    for lines, is_prose in _blocks(text.split("\n")):
        found += [number + at for at, line in enumerate(lines) if is_prose and len(line) > WIDTH]
        number += len(lines)
    return found


def _blocks(lines: list[str]) -> Iterator[tuple[list[str], bool]]:
    """The page in blocks of lines, and whether each is prose: a paragraph or item. The others are code or markup."""
    at, in_item = 0, False
    while at < len(lines):
        line, end = lines[at], at + 1
        item = ITEM.match(line)
        is_code = bool(CODE.match(line)) and not in_item and not item
        if FENCE.match(line):
            while end < len(lines) and not FENCE.match(lines[end]):
                end += 1
            end += 1
        elif line.strip() and not SPECIAL.match(line) and not is_code:
            while end < len(lines) and lines[end].strip() and not any(kind.match(lines[end]) for kind in BEGINS):
                end += 1
            in_item = bool(item) or (in_item and line.startswith(" "))
            yield lines[at:end], True
            at = end
            continue
        yield lines[at:end], False
        at = end


def _wrap(lines: list[str]) -> list[str]:
    item = ITEM.match(lines[0])
    first = item[0] if item else re.match(" *", lines[0])[0]  # type: ignore[index]  # it always matches
    text = " ".join([lines[0][len(first) :], *(line.strip() for line in lines[1:])])
    text = SPAN.sub(lambda span: span[0] if len(span[0]) > LONGEST_SPAN else span[0].replace(" ", GLUE), text)
    text = MARKUP.sub(GLUE, text)
    made = textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(GLUE, " ") for line in made]


def pages() -> list[Path]:
    """Our pages, except what is generated: those in git, or in a copy without it all but those of tools."""
    if (TOP / ".git").exists():
        done = subprocess.run(["git", "ls-files", "*.md"], cwd=TOP, check=True, capture_output=True, text=True)
        names = [name for name in done.stdout.split("\n") if name]
    else:
        found = (str(path.relative_to(TOP)) for path in TOP.rglob("*.md"))
        names = [name for name in found if not name.startswith((".", "build/"))]
    return [TOP / name for name in names if name != "docs/config.md"]


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 if --check found something."""
    status = 0
    for path in pages():
        text = path.read_text()
        if arguments != ["--check"]:
            path.write_text(wrapped(text))
            continue
        for number in too_long(text):
            print(f"{path.relative_to(TOP)}:{number}: longer than {WIDTH} columns: `make format` wraps it")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

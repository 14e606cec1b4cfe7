"""python -m ocipy.pages SHARE [DOCS]: writes the pages below PREFIX/share, where man and the shells look for them.

DOCS: the sources' docs directory; the man pages take their descriptions from it, and it is copied to SHARE/doc/ocipy.
SOURCE_DATE_EPOCH: the date of the man pages, in seconds; otherwise that of the last change in DOCS.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

from ocipy.pages import bash, box, fish, man, zsh
from ocipy.pages.markdown import Block, Section, parts, sections
from ocipy.pages.table import all_commands

# Each describes its commands in full; commands.md only names the commands of the other two.
DOCUMENTS = ("commands.md", "features.md", "checkpoint.md")
# Commands that take the flags of other commands.
TAKEN = {"run": ("create",), "restore": ("create", "checkpoint", "run")}


def pages(docs: Path | None) -> dict[str, str]:
    """The text of each file by its path below share."""
    commands = all_commands()
    documented: dict[str, Section] = {}
    if docs is not None:
        for name in DOCUMENTS:
            documented |= sections((docs / name).read_text(encoding="utf-8"), [command.name for command in commands])
        documented[""] = parts((docs / "commands.md").read_text(encoding="utf-8"))[0][1]
        documented["box"] = whole((docs / "box.md").read_text(encoding="utf-8"))
        for name, example in examples(documented["box"]).items():
            flags = documented["box"].flags if name in ("box create", "box run") else {}
            documented[name] = Section([Block(example=example)], flags)
        for name, others in TAKEN.items():
            documented[name].flags = {
                flag: text for other in (*others, name) for flag, text in documented[other].flags.items()
            }
    boxes = box.commands()
    texts = man.pages(commands, boxes, documented, date(docs))
    return {
        **{f"man/man1/{name}": text for name, text in texts.items()},
        "bash-completion/completions/ocipy": bash.completion(commands, boxes),
        "zsh/site-functions/_ocipy": zsh.completion(commands, boxes),
        "fish/vendor_completions.d/ocipy.fish": fish.completion(commands, boxes),
    }


def examples(section: Section) -> dict[str, list[str]]:
    """The example lines of a section by the box command that each shows, without repetitions."""
    found: dict[str, list[str]] = {}
    for line in (line for block in section.blocks for line in block.example):
        words = line.split()
        name = " ".join(words[1:3])
        if words[:2] == ["ocipy", "box"] and line not in found.setdefault(name, []):
            found[name].append(line)
    return {name: aligned(lines) for name, lines in found.items()}


def aligned(lines: list[str]) -> list[str]:
    """Lines of two columns, as close as they can be."""
    columns = [re.split(r"  +", line, maxsplit=1) for line in lines]
    width = max(len(first) for first, *_ in columns)
    return ["  ".join([first.ljust(width), *rest]).rstrip() for first, *rest in columns]


def whole(text: str) -> Section:
    """A document as one section, with its headings."""
    all_of_it = Section()
    for heading, section in parts(text, with_flags=True):
        all_of_it.flags |= section.flags
        all_of_it.blocks += [*([Block(f"## {heading}")] if heading else []), *section.blocks]
    return all_of_it


def date(docs: Path | None) -> str:
    """YYYY-MM-DD in UTC: with SOURCE_DATE_EPOCH, the same for the same sources."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    files = sorted(docs.glob("*.md")) if docs is not None else [Path(__file__)]
    seconds = int(given) if given else max(file.stat().st_mtime for file in files)
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def main(share: Path, docs: Path | None) -> None:
    """Write all pages."""
    for name, text in pages(docs).items():
        path = share / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if docs is not None:
        (share / "doc/ocipy").mkdir(parents=True, exist_ok=True)
        for document in (path for kind in ("md", "png", "svg") for path in docs.glob(f"*.{kind}")):
            shutil.copyfile(document, share / "doc/ocipy" / document.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)

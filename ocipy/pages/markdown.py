"""Parses the parts of docs/*.md that man pages use: paragraphs, examples, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_INLINE = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\[(?P<link>[^]]+)\]\([^)]*\)")


@dataclass
class Block:
    """A paragraph, the lines of an example, or the cells of each row of a table."""

    text: str = ""
    example: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass
class Section:
    """A command's description: blocks in order, and the texts of its flags by name."""

    blocks: list[Block] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)


def sections(text: str, names: Iterable[str]) -> dict[str, Section]:
    """The sections of a document whose heading begins with the name of a command, with or without "ocipy" before it.

    A heading for several commands, such as "pause ID, resume ID", counts for each.
    """
    known = set(names)
    found: dict[str, Section] = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        for title in heading.removeprefix("ocipy ").split(", "):
            name = title.split()[0]
            if name in known:
                found[name] = _section(body)
    return found


def _section(body: str) -> Section:
    section = Section()
    for block in re.split(r"\n{2,}", body.strip("\n")):
        lines = block.splitlines()
        if not lines or lines[0].startswith("#"):
            continue
        if lines[0].startswith("    "):
            example = [line[4:] for line in lines]
            if section.blocks and section.blocks[-1].example:
                example = [*section.blocks.pop().example, "", *example]
            section.blocks.append(Block(example=example))
        elif lines[0].startswith("|"):
            rows = [_cells(line) for line in lines[2:]]
            flags = [row for row in rows if row[0].startswith("`--")]
            for first, *rest in flags:
                for name in re.findall(r"--([a-z0-9-]+)", first):
                    section.flags[name] = rest[0]
            others = [row for row in rows if row not in flags]
            if others:
                section.blocks.append(Block(rows=others))
        elif lines[0].startswith("- "):
            items = re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
            section.blocks += [Block("• " + " ".join(item.split())) for item in items]
        else:
            section.blocks.append(Block(" ".join(line.strip() for line in lines)))
    return section


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return [cell.strip().replace("\\|", "|") for cell in cells]


def inline(text: str) -> list[tuple[bool, str]]:
    """The text in pieces, each with whether it is emphasized."""
    pieces, end = [], 0
    for match in _INLINE.finditer(text):
        pieces.append((False, text[end : match.start()]))
        link = match["link"]
        if link is not None:
            pieces += inline(link)
        else:
            pieces.append((True, match["code"] or match["bold"]))
        end = match.end()
    pieces.append((False, text[end:]))
    return [(bold, piece) for bold, piece in pieces if piece]

"""Parses the parts of docs/*.md that man pages use: paragraphs, examples, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_INLINE = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\[(?P<link>[^]]+)\]\((?P<target>[^)]*)\)")


@dataclass
class Block:
    """A paragraph, the lines of an example, or the cells of each row of a table."""

    text: str = ""
    example: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass
class Section:
    """Blocks in order; the texts of flags by name; the fields of config.json that flags set."""

    blocks: list[Block] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)


def parts(text: str, *, with_flags: bool = False) -> list[tuple[str, Section]]:
    """A document's sections with their headings; the first, with an empty heading, is the text before any heading.

    with_flags: tables of flags are also blocks.
    """
    first, *others = re.split(r"^## ", text, flags=re.MULTILINE)
    found = [("", _section(first, with_flags))]
    for other in others:
        heading, _, body = other.partition("\n")
        found.append((heading, _section(body, with_flags)))
    return found


def sections(text: str, names: Iterable[str]) -> dict[str, Section]:
    """The sections of a document whose heading begins with the name of a command, with or without "ocipy" before it.

    A heading for several commands, such as "pause ID, resume ID", counts for each.
    """
    known = set(names)
    found: dict[str, Section] = {}
    for heading, section in parts(text)[1:]:
        for title in heading.removeprefix("ocipy ").split(", "):
            name = title.split()[0]
            if name in known:
                found[name] = section
    return found


def _section(body: str, with_flags: bool) -> Section:
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
            _read_table(lines, section, with_flags)
        elif lines[0].startswith("- "):
            items = re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
            section.blocks += [Block("• " + " ".join(item.split())) for item in items]
        else:
            section.blocks.append(Block(" ".join(line.strip() for line in lines)))
    return section


def _read_table(lines: list[str], section: Section, with_flags: bool) -> None:
    """A table's rows; those of flags become texts of the flags. The second column's heading may be "field of `X`"."""
    header, rows = _cells(lines[0]), [_cells(line) for line in lines[2:]]
    parent = re.fullmatch(r"field of `(.+)`", header[1]) if len(header) > 1 else None
    others = []
    for row in rows:
        names = re.findall(r"--([a-z0-9-]+)", row[0]) if row[0].startswith("`--") else []
        if with_flags or not names:
            others.append(row)
        if names and parent and re.fullmatch(r"(`[^`]+`(, |$))+", row[1]):
            fields = re.findall(r"`([^`]+)`", row[1])
            section.fields |= {name: f"{parent[1]}.{field}" for name, field in zip(names, fields, strict=True)}
        elif names and row[1]:
            # The row's other flags have only the text of their help.
            section.flags[names[0]] = "; ".join(filter(None, (section.flags.get(names[0]), row[1])))
    if others:
        section.blocks.append(Block(rows=others))
    elif section.blocks and section.blocks[-1].text.endswith(":"):
        # It announced the table: "It takes the flags of create, and:".
        sentences = re.split(r"(?<=[.:]) ", section.blocks.pop().text)
        if sentences[:-1]:
            section.blocks.append(Block(" ".join(sentences[:-1])))


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [cell.strip().replace("\\|", "|") for cell in cells]


def inline(text: str) -> list[tuple[str, str]]:
    """The text in pieces, each with its font: R (roman), B (bold: code and emphasis), I (italic: another page)."""
    pieces, end = [], 0
    for match in _INLINE.finditer(text):
        pieces.append(("R", text[end : match.start()]))
        link = match["link"]
        if link is None:
            pieces.append(("B", match["code"] or match["bold"]))
        elif link.endswith(".md"):
            pieces.append(("I", link))
        else:
            pieces += inline(link)
        end = match.end()
    pieces.append(("R", text[end:]))
    return [(font, piece) for font, piece in pieces if piece]

"""The single description of config.json (ocipy/config/description), and everything generated from it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from ocipy.config import generate
from ocipy.config.description import as_page, as_rules, as_schema, nodes
from ocipy.config.description.markers import In, Pattern, Since
from ocipy.config.description.nodes import Member, Object, Value
from ocipy.config.description.values import Uint16
from tests.unit import oracle

TOP = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", sorted(generate.outputs()))
def test_what_is_generated_is_current(name: str) -> None:
    assert (TOP / name).read_text() == generate.outputs()[name], "run: python -m ocipy.config.generate"


def every_member() -> Iterator[tuple[Object, Member]]:
    for name in nodes.DOCUMENTS:
        for kind in nodes.objects(Value("", nodes.read_document(name))):
            for member in kind.members:
                yield kind, member


def test_a_description_is_one_short_sentence_in_words_of_ours() -> None:
    texts = [text for kind, member in every_member() for text in (kind.doc, member.doc)]
    assert len(texts) > 300
    for text in texts:
        assert text.endswith(".") and text[0].isupper() and len(text) <= 120, text
    if not oracle.FOLDER.is_dir():
        pytest.skip(f"the specification is not at {oracle.FOLDER}")
    published = " ".join(path.read_text() for path in oracle.FOLDER.rglob("*") if path.suffix in (".md", ".json"))
    published = re.sub(r"[\s*`]+", " ", published).lower()
    copied = [text for text in texts if len(text) > 32 and text.lower().strip(".").replace("`", "") in published]
    assert copied == []


def test_each_module_that_carries_a_member_out_mentions_it() -> None:
    """Otherwise the table in docs/config.md would mislead."""
    astray = []
    for object_name, name, modules in rows():
        spelled = {name, re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()}
        for path in modules:
            text = (TOP / "ocipy" / f"{path}.py").read_text()
            if not re.search(rf"\b({'|'.join(spelled)})\b", text):
                astray.append(f"{object_name}.{name}: {path}")
    assert astray == []


def rows() -> Iterator[tuple[str, str, list[str]]]:
    """(object, member, modules) of each row of docs/config.md that names modules."""
    heading = ""
    for line in (TOP / "docs/config.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line[3:]
        row = re.match(r"\| `(\w+)` \|.*\| ([^|]+) \|$", line)
        if row and "`" in row[2]:
            yield heading, row[1], re.findall(r"`([^`]+)`", row[2])


def test_the_page_has_every_member() -> None:
    page = (TOP / "docs/config.md").read_text()
    for kind in nodes.objects(Value("", nodes.read_document("config"))):
        section = page.partition(f"\n## {kind.name}\n")[2].partition("\n## ")[0]
        for member in kind.members:
            assert f"\n| `{member.name}` |" in section


class Untold(TypedDict):
    """An object."""

    member: str


class Strange(TypedDict):
    """An object."""

    member: complex
    """A member."""


class Unchecked(TypedDict):
    """An object."""

    member: Annotated[str, Pattern("^a$", "an a")]
    """A member."""


class Nowhere(TypedDict):
    """An object."""

    member: Annotated[str, In("no_such_module")]
    """A member."""


def read(cls: Any, monkeypatch: pytest.MonkeyPatch) -> Object:
    monkeypatch.setitem(nodes.DOCUMENTS, "test", cls)
    monkeypatch.setattr(nodes, "MODULES", (*nodes.MODULES, sys.modules[__name__]))
    return nodes.read_document("test")


class Wider(TypedDict, total=False):
    """A config of a later version."""

    speed: Annotated[Uint16, Since("1.9"), In("rootfs")]
    """How fast the container is to be."""


def test_a_described_field_appears_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    document = read(Wider, monkeypatch)
    assert '    "speed": (INTEGER, 0, 65535),\n' in as_rules.render(document)
    schema = json.loads(as_schema.render(document, "title"))
    text = "How fast the container is to be. Since version 1.9."
    assert schema["properties"]["speed"] == {"description": text, "$ref": "#/$defs/Uint16"}
    row = (
        "| `speed` | uint16 | 1.9 | How fast the container is to be. | `plan/rootfs`, `host/rootfs`, `init/rootfs` |\n"
    )
    assert row in as_page.render(document)


class Inner(TypedDict, total=False):
    """An object."""

    depth: Uint16
    """How deep it is."""


class Outer(TypedDict, total=False):
    """An object."""

    inner: Annotated[Inner, In("plan/rootfs", below="host/mounts")]
    """What is in it."""


def test_a_single_module_can_be_named_and_others_for_what_is_below(monkeypatch: pytest.MonkeyPatch) -> None:
    page = as_page.render(read(Outer, monkeypatch))
    assert "| What is in it. | `plan/rootfs` |\n" in page
    assert "| How deep it is. | `host/mounts` |\n" in page


def test_an_incomplete_description_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="member has no description"):
        read(Untold, monkeypatch)
    with pytest.raises(ValueError, match="complex"):
        read(Strange, monkeypatch)
    with pytest.raises(ValueError, match="no predicate"):
        as_rules.render(read(Unchecked, monkeypatch))
    with pytest.raises(ValueError, match="no_such_module"):
        as_page.render(read(Nowhere, monkeypatch))

"""Everything that the documentation names exists: links, files, targets of make, steps of plans."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from ocipy.pages.table import all_commands
from ocipy.plan.model import HostStep, InitStep
from tests.unit.kinds import kinds

TOP = Path(__file__).parents[2]
OTHERS = ["ARCHITECTURE.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md"]
PAGES = ["README.md", *OTHERS, *sorted(f"docs/{path.name}" for path in (TOP / "docs").glob("*.md"))]
STEP = re.compile(r"^    (?:\[?ocipy: )?(host|init) +(?:\d+ +)?([a-z_0-9]+) ", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links(name: str) -> None:
    page = TOP / name
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_readme() -> None:
    reached, pending = set[str](), ["README.md"]
    while pending:
        name = pending.pop()
        if name in reached:
            continue
        reached.add(name)
        for link in re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", (TOP / name).read_text()):
            pending.append(((TOP / name).parent / link).resolve().relative_to(TOP).as_posix())
    assert set(PAGES) <= reached


def test_the_index_and_the_site_have_every_page() -> None:
    index, site = (TOP / "docs/index.md").read_text(), (TOP / "mkdocs.yml").read_text()
    for name in [name for name in PAGES if name not in ("README.md", "CODE_OF_CONDUCT.md", "docs/index.md")]:
        link = name.removeprefix("docs/") if name.startswith("docs/") else f"../{name}"
        assert f"]({link})" in index, name
        assert f"- {name.removeprefix('docs/')}\n" in site, name


def test_installing_lists_every_reason_for_a_slow_start() -> None:
    """The launcher's words, without the object's name or errno's text."""
    launcher = TOP / "ocipy/launcher"
    names = ["snapshot.c", "snapshot_file.c", "renew.c", "stdlib.c", "trust.c", "python.py"]
    subject = "the (?:snapshot|executable|installation|directory|kernel|last)|this machine|a library|one|only the owner"
    begins = rf"(?:{subject}|there is|built for|belongs|is writable|no snapshots:|slow .run)"
    sources = [(launcher / name).read_text() for name in names] + [(TOP / "meson.build").read_text().replace("'", '"')]
    reasons = set(re.findall(rf'"({begins}[^"]*)"', "\n".join(sources)))
    assert len(reasons) > 15
    table = re.sub(r"\]\([^)]*\)|\[", "", (TOP / "docs/install.md").read_text().partition("| reason |")[2])
    for reason in reasons:
        words = reason.removeprefix("slow (").removesuffix(")")
        words = re.sub(r": .*|:? $", "", words) if not words.startswith("no snapshots") else words
        words = re.sub(r"^the installation directory (?=cannot be examined)", "", words)
        assert words.strip() in table, reason


def test_coming_from_runc_lists_every_flag() -> None:
    """Each command's row has its flags, those of `as X` included, and no other."""
    page = (TOP / "docs/from-runc.md").read_text()
    rows = {}
    for names, alike, more in re.findall(
        r"^\| (.+?) \| (.*?)\| (.*?) ?\|$", page.split("## Word by word")[0], re.MULTILINE
    ):
        for name in re.findall(r"`([a-z]+)`", names) or [""] * (names == "(globals)"):
            rows[name] = set(re.findall(r"`--([a-z0-9-]+)`", alike + more))
            for other in re.findall(r"as `([a-z]+)`", alike):
                rows[name] |= rows[other]
    for command in all_commands():
        if command.name not in ("box", "plan", "setup", "validate"):
            assert rows[command.name] == {flag.name for flag in command.flags} - {"help", "version"}, command.name


@pytest.mark.parametrize("name", PAGES)
def test_files(name: str) -> None:
    """`plan/build.py` can be relative to the top or to the usual parent of such names; `build.py` can be anywhere."""
    for path in re.findall(r"`([\w./-]+\.(?:py|pyi|c|md|toml|txt))`", (TOP / name).read_text()):
        if path.startswith("/") or "config.toml" in path:  # of the host
            continue
        places = [TOP, TOP / "ocipy", TOP / "tests", TOP / "tests/unit"]
        assert any((place / path).exists() for place in places) or list((TOP / "ocipy").rglob(path)), path


@pytest.mark.parametrize("name", PAGES)
def test_targets_of_make(name: str) -> None:
    targets = set(" ".join(re.findall(r"^([a-z -]+):", (TOP / "Makefile").read_text(), re.MULTILINE)).split())
    said = re.findall(r"(?:`|^    )make ([a-z-]+)", (TOP / name).read_text(), re.MULTILINE)
    assert set(said) <= targets


@pytest.mark.parametrize("name", PAGES)
def test_steps_of_plans(name: str) -> None:
    known = {"host": {kind.action for kind in kinds(HostStep)}, "init": {kind.action for kind in kinds(InitStep)}}
    for which, action in STEP.findall((TOP / name).read_text()):
        assert action in known[which] or (name, action) == ("docs/extending.md", "mdwe"), action


def test_the_license_is_the_same_everywhere() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE"]
    assert "license: 'Apache-2.0'" in (TOP / "meson.build").read_text()
    assert "\nLicense: Apache-2.0\n" in (TOP / "debian/copyright").read_text()
    assert re.match(r"\s*Apache License\s+Version 2.0, January 2004\s", (TOP / "LICENSE").read_text())
    assert "Apache License 2.0, for all of it: [LICENSE](LICENSE)" in (TOP / "README.md").read_text()


# How a source says that it depends on the machine.
MACHINE = re.compile(r"__(x86_64|aarch64)__|\bAUDIT_ARCH_|\bcpu_family\b")


def test_the_page_for_porting_names_each_file_that_depends_on_the_machine() -> None:
    page = (TOP / "docs/porting.md").read_text()
    sources = [TOP / "meson.build", *(path for kind in ("*.[ch]", "*.py") for path in (TOP / "ocipy").rglob(kind))]
    found = [str(path.relative_to(TOP)) for path in sources if MACHINE.search(path.read_text())]
    assert found
    assert [name for name in found if f"`{name}`" not in page] == []


def test_the_page_for_porting_names_things_where_they_are() -> None:
    astray = []
    for line in (TOP / "docs/porting.md").read_text().split("\n"):
        where = [*line.split("|"), "", "", ""][2]
        files = re.findall(r"`(ocipy/[\w/]+\.[chpy]+|\w+\.[ch])`", where)
        texts = [(TOP / (name if "/" in name else "ocipy/launcher/" + name)).read_text() for name in files]
        astray += [
            name for name in re.findall(r"`([A-Z_]{4,})`", where) if texts and not all(name in text for text in texts)
        ]
    assert astray == []

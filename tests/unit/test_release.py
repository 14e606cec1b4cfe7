"""A release: one version everywhere, notes, links that work outside of the repository, the metadata of an index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from ocipy.version import VERSION
from release import documents

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]


def texts() -> dict[str, str]:
    return {name: (TOP / name).read_text() for name in documents.PLACES}


def test_the_version_is_the_same_everywhere() -> None:
    assert set(documents.versions(texts()).values()) == {VERSION}
    assert VERSION not in (TOP / "meson.build").read_text(), "meson reads ocipy/version.py"
    assert PROJECT["dynamic"] == ["version"]


def test_another_version_is_found() -> None:
    changed = texts() | {"debian/changelog": "ocipy (9.9) unstable; urgency=medium\n"}
    assert documents.versions(changed)["debian/changelog"] == "9.9"
    assert documents.versions(changed | {"CHANGELOG.md": "# Changelog\n"})["CHANGELOG.md"] == ""


def test_the_notes_are_the_section_of_the_version() -> None:
    changelog = "# Changelog\n\n## 0.2.0 (2027-01-01)\n\nNew.\n\n### More\n\n- one\n\n## 0.1.0 (2026-12-01)\n\nOld.\n"
    assert documents.changes(changelog, "0.2.0") == ("2027-01-01", "New.\n\n### More\n\n- one\n")
    assert documents.changes(changelog, "0.1.0") == ("2026-12-01", "Old.\n")
    with pytest.raises(ValueError, match=r"no section for 0\.3\.0"):
        documents.changes(changelog, "0.3.0")


def test_links_lead_to_the_tag() -> None:
    text = "![a](docs/plan.png) [b](docs/x.md#y), [c](https://e.org), [d](#here), [e](../LICENSE)"
    assert documents.absolute_links(text, "https://f/o", "1.0", "sub/README.md") == (
        "![a](https://f/o/raw/v1.0/sub/docs/plan.png) [b](https://f/o/blob/v1.0/sub/docs/x.md#y), "
        "[c](https://e.org), [d](#here), [e](https://f/o/blob/v1.0/LICENSE)"
    )


def test_no_link_of_readme_is_relative_on_an_index() -> None:
    text = documents.absolute_links((TOP / "README.md").read_text(), REPOSITORY, VERSION)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all(link.startswith("https://") for link in links)


def test_the_metadata_is_complete() -> None:
    assert {"Homepage", "Repository", "Documentation", "Changelog", "Issues"} <= set(PROJECT["urls"])
    assert PROJECT["authors"]
    assert PROJECT["keywords"]
    for file in ("debian/control", "packaging/ocipy.spec"):
        assert REPOSITORY in (TOP / file).read_text()
    tested = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert PROJECT["requires-python"] == f">={tested[0]}"

"""Hooks of mkdocs (mkdocs.yml): the pages at the top of the repository, links to and from them, GitHub's anchors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

TOP = Path(__file__).parents[1]
ADDED = ("ARCHITECTURE.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def slug(heading: str, separator: str) -> str:
    """GitHub's anchor of a heading, to which the pages link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Called once, before the files are collected."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages at the top of the repository."""
    from mkdocs.structure.files import File

    for name in ADDED:
        files.append(File.generated(config, name, content=(TOP / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Make links those of the site: all pages are in one directory, other files in the repository."""
    folder = TOP if page.file.src_uri in ADDED else TOP / "docs"

    def mended(match: re.Match[str]) -> str:
        path = (folder / match[1]).resolve().relative_to(TOP).as_posix()
        anchor = match[2] or ""
        if path == "README.md":
            return "](index.md)"
        if path in ADDED or path.startswith("docs/"):
            return f"]({path.removeprefix('docs/')}{anchor})"
        return f"]({config.repo_url}/blob/main/{path}{anchor})"

    return LINK.sub(mended, markdown)

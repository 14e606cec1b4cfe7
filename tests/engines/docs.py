"""Reads the recipes from docs/, so the tests run exactly what the pages show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
INSTALLED = "/usr/local/bin/ocipy"


def _blocks(page: str) -> list[tuple[str, str, str]]:
    """The fenced blocks of a page: the paragraph before, the language, the text."""
    text = (DOCS / page).read_text()
    found = re.findall(r"([^\n]*)\n+```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [(before, language, block) for before, language, block in found]


def file(page: str, path: str, runtime: str) -> str:
    """The file that a page shows below a line with its path in backquotes, with this runtime instead of the installed
    one."""
    (block,) = [block for before, _, block in _blocks(page) if f"`{path}`" in before]
    assert path.startswith("/usr/share") or INSTALLED in block or "ocipy" in block
    return block.replace(INSTALLED, runtime)


def commands(page: str, program: str) -> list[list[str]]:
    """The words of each command line of a program in a page's sh blocks, without the program."""
    lines = [line for _, language, block in _blocks(page) if language == "sh" for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    found = [line[1:] for line in words if line[:1] == [program]]
    assert found, f"docs/{page} shows no call of {program}"
    return found

"""ARCHITECTURE.md's table of libraries: each is imported where it says, and nowhere else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

TOP = Path(__file__).parents[2]
ROW = re.compile(r"^\| [^|]+ \| ([^|]+) \| ((?:`ocipy/[^`]+\.py`(?:, )?)+) \| [^|]+ \|$", re.MULTILINE)
# By distribution, where the name differs.
MODULES = {"python-prctl": "prctl"}
ELSEWHERE = "libseccomp's own `seccomp`"  # comes with Debian's libseccomp, not from PyPI


def table() -> dict[str, set[str]]:
    """The files by module."""
    text = (TOP / "ARCHITECTURE.md").read_text().partition("\n## Libraries\n")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {}
    for names, places in ROW.findall(text):
        for name in names.replace(ELSEWHERE, "seccomp").split(", or "):
            found[MODULES.get(name, name)] = set(re.findall(r"`([^`]+)`", places))
    return found


def imported() -> dict[str, set[str]]:
    """The files by imported module that is neither ours nor the standard library's."""
    found: dict[str, set[str]] = {}
    for path in sorted((TOP / "ocipy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in names:
                top = name.partition(".")[0]
                if top != "ocipy" and top not in sys.stdlib_module_names:
                    found.setdefault(top, set()).add(str(path.relative_to(TOP)))
    return found


def test_each_library_is_imported_where_the_table_says() -> None:
    assert imported() == table()


def test_each_dependency_is_in_the_table() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    names = {re.split("[>=<]", one)[0] for one in project["dependencies"]}
    assert {MODULES.get(name, name) for name in names} | {"seccomp"} == set(table())

"""The modules that each hot command imports: tests/unit/hot_modules.txt has the budget.

python -m tests.unit.hot         prints the file's current contents
"""

from __future__ import annotations

from pathlib import Path

from ocipy.cli.table import HOT
from ocipy.launcher import freeze

PACKAGE = Path(freeze.__file__).resolve().parents[1]
LIST = Path(__file__).with_name("hot_modules.txt")


def imported() -> dict[str, set[str]]:
    """The modules that each hot command imports at the top level, recursively."""
    sources = freeze.read_sources(PACKAGE)
    return {command: freeze.closure(["ocipy.cli.main", "ocipy.cli.commands." + command], sources) for command in HOT}


def described(modules: dict[str, set[str]]) -> str:
    """The list as text: first the common modules, then the additional ones of each command."""
    common = set.intersection(*modules.values())
    sections = {"all": common} | {command: names - common for command, names in modules.items()}
    return "".join(
        f"{title}:\n" + "".join(f"  {name}\n" for name in sorted(names)) for title, names in sections.items()
    )


def listed() -> dict[str, set[str]]:
    """The modules that hot_modules.txt allows each command."""
    sections: dict[str, set[str]] = {}
    for line in LIST.read_text().splitlines():
        if line.startswith("  "):
            sections[next(reversed(sections))].add(line.strip())
        else:
            sections[line.rstrip(":")] = set()
    common = sections.pop("all")
    return {command: common | names for command, names in sections.items()}


if __name__ == "__main__":
    print(described(imported()), end="")

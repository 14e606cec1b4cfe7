"""The imports of the package, and the rooms of its modules in ARCHITECTURE.md. folders.py draws a picture."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]
ROW = re.compile(r"^\| (`ocipy/[^|]*) \|[^|]*\| ([^|]*) \|$", re.MULTILINE)
ANYBODY = "for all"


@dataclass(frozen=True)
class Room:
    """A row of the table. uses: the rooms in the last column; None if every room may use this one."""

    names: tuple[str, ...]
    uses: frozenset[str]
    is_for_all: bool

    @property
    def name(self) -> str:
        return self.names[0]


def rooms(text: str) -> list[Room]:
    """The rows, topmost first. A name is a folder or file in ocipy/, without slash or suffix."""
    found = []
    for places, uses in ROW.findall(text):
        names = [re.sub(r"^ocipy/|/$|\.py$", "", place) for place in re.findall(r"`([^`]+)`", places)]
        is_for_all = uses.startswith(ANYBODY)
        words = uses.removeprefix(ANYBODY).strip("; ").strip()
        found.append(Room(tuple(names), frozenset(words.split(", ")) if words else frozenset(), is_for_all))
    return found


def modules(top: Path = TOP) -> dict[str, Path]:
    """The full names of all modules of the package. top: the checkout."""
    found = {}
    for path in sorted((top / "ocipy").rglob("*.py")):
        parts = path.relative_to(top).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str, all_rooms: list[Room]) -> Room:
    """The module's room. Raises KeyError."""
    name = module.split(".")[1] if "." in module else "__init__"
    for room in all_rooms:
        if name in room.names:
            return room
    raise KeyError(module)


def imports(tree: ast.AST, known: dict[str, Path], *, by_name: bool = True) -> Iterator[str]:
    """The modules that a module imports: at its top, in a function, for the type checker; if by_name, also those whose
    names it has in strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module in known:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in known else node.module
        elif by_name and isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in known:
            if "." in node.value and known[node.value].name != "__init__.py":
                yield node.value


def graph(known: dict[str, Path], *, by_name: bool = True) -> dict[str, set[str]]:
    """The imports of each module."""
    return {
        name: set(imports(ast.parse(path.read_bytes()), known, by_name=by_name)) - {name}
        for name, path in known.items()
    }


def graph_of_c(objects: Iterable[Path]) -> dict[str, set[str]]:
    """What each object file uses of the others, by nm(1). Names are those of the sources."""
    source = {path: path.stem for path in objects}
    defines: dict[str, str] = {}
    lacks: dict[str, set[str]] = {name: set() for name in source.values()}
    for path, name in source.items():
        for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
            kind, symbol = line.split()[-2:]
            if kind == "U":
                lacks[name].add(symbol)
            elif kind.isupper():
                defines[symbol] = name
    return {name: {defines[each] for each in symbols & defines.keys()} - {name} for name, symbols in lacks.items()}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import one another, directly or indirectly (Tarjan's components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in edges:
        if name not in index:
            visit(name)
    return found

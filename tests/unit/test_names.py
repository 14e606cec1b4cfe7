"""No name means two things: a class, and a function or constant that modules import by its name, is defined in one
place."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "ocipy"

#: The same in each lane, or of each plan; and the entry point of a process.
MIRRORED = {"ACTIONS", "build", "carries_out", "main"}
#: ocipy box is a separate program, and the names of rules and types are members of config.json.
APART = ("ocipy.box", "ocipy.config.rules", "ocipy.config.types")
#: What the public library gives a program of something that we make, under the same name.
PUBLIC = {"Plan", "State", "Step"}


def test_no_two_modules_offer_a_function_or_constant_of_the_same_name() -> None:
    offered: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("ocipy."):
                continue
            for name in (alias.name for alias in node.names):
                if (name.islower() or name.isupper()) and not _is_module(f"{node.module}.{name}"):
                    offered[name].add(str(node.module))
    found = {
        name: sorted(modules)
        for name, modules in offered.items()
        if name not in MIRRORED and len([module for module in modules if not module.startswith(APART)]) > 1
    }
    assert found == {}


def test_no_two_modules_define_a_class_of_the_same_name() -> None:
    defined: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not _is_of_the_document(node):
                defined[node.name].add(module)
    found = {}
    for name, modules in defined.items():
        ours = sorted(module for module in modules if not module.startswith("ocipy.box"))
        if name in PUBLIC and "ocipy.library.records" in ours:
            ours.remove("ocipy.library.records")
        if len(ours) > 1:
            found[name] = ours
    assert found == {}


def _is_of_the_document(node: ast.ClassDef) -> bool:
    """Whether it is a type of config.json or of the state, whose name is the specification's."""
    return any(isinstance(base, ast.Name) and base.id == "TypedDict" for base in node.bases)


def _is_module(name: str) -> bool:
    path = PACKAGE.parent / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()

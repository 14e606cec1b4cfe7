"""An OSError becomes an Error by `with reported_as(...)`, or by caused_by where more has to be decided or done."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "ocipy"
# The functions that pass an errno on by themselves, with the reason.
EXCEPTIONS = {
    "cgroups.device_filter._write_lines": "each container has a dozen lines, and `with` costs 30 instructions",
    "host.network_devices.lend": "pyroute2's NetlinkError is not an OSError, and has a code",
    "host.restore._renew": "an Error of a function that it calls is reported in the same words",
    "init.cgroup_enter.cgroup_enter": "each container enters a dozen v1 hierarchies, and `with` costs 30 instructions",
    "init.cgroup_mount.mount_cgroup1": "the same: it binds a dozen",
    "init.devices.device": "each container has six nodes or more, and `with` costs 30 instructions",
    "systemd.bus._broken": "an end of file has no errno, so the hint is that of ECONNRESET",
}


def long_forms(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each (function, line) that does what reported_as or caused_by is for."""
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.Module)):
            continue
        for node in own_nodes(function):
            if isinstance(node, ast.Call) and any(passes_errno(keyword) for keyword in node.keywords):
                yield getattr(function, "name", ""), node.lineno
            if isinstance(node, ast.ExceptHandler) and only_reports(node):
                yield getattr(function, "name", ""), node.lineno


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """All nodes, except those of a function in it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef):
            yield child
            yield from own_nodes(child)


def passes_errno(keyword: ast.keyword) -> bool:
    """Whether this is errno=error.errno, or the like."""
    parts = ast.walk(keyword.value)
    return keyword.arg == "errno" and any(isinstance(part, ast.Attribute) and part.attr == "errno" for part in parts)


def only_reports(handler: ast.ExceptHandler) -> bool:
    """Whether this is `except OSError as error: raise caused_by(error, ...)`, which is reported_as written out."""
    if not isinstance(handler.type, ast.Name) or handler.type.id != "OSError":
        return False
    *before, last = handler.body
    if not isinstance(last, ast.Raise) or not isinstance(last.exc, ast.Call):
        return False
    called = last.exc.func
    if not isinstance(called, ast.Name) or called.id != "caused_by":
        return False
    uses = [part for part in ast.walk(last.exc) if isinstance(part, ast.Name) and part.id == handler.name]
    return len(uses) == 1 and all(isinstance(statement, ast.Assign) for statement in before)


@pytest.mark.parametrize(
    "body",
    [
        "raise Error('x', errno=error.errno or 0)",
        "raise Error('x', pointer=path, errno=error.errno)",
        "failure = Error('x', errno=(error.errno or 0) if isinstance(error, OSError) else 0)",
        "raise caused_by(error, 'x')",
        "hint = 'y'\n    raise caused_by(error, 'x', hint=hint) from None",
    ],
)
def test_a_long_form_is_seen(body: str) -> None:
    tree = ast.parse(f"def f():\n  try:\n    g()\n  except OSError as error:\n    {body}")
    assert [function for function, _line in long_forms(tree)] == ["f"]


@pytest.mark.parametrize(
    "body",
    [
        "close()\n    raise caused_by(error, 'x')",
        "if error.errno != ENOENT:\n      raise caused_by(error, 'x')",
        "raise caused_by(error, 'x', pointer=error.filename)",
        "raise Error('x', errno=ENOENT)",
    ],
)
def test_a_handler_that_does_more_is_accepted(body: str) -> None:
    tree = ast.parse(f"def f():\n  try:\n    g()\n  except OSError as error:\n    {body}")
    assert not list(long_forms(tree))


def test_errors_of_the_kernel_are_reported_in_one_way() -> None:
    found: list[tuple[str, str]] = []
    for path in sorted(SOURCES.rglob("*.py")):
        relative = path.relative_to(SOURCES)
        module = ".".join(relative.with_suffix("").parts)
        found += [(f"{module}.{name}", f"{relative}:{line}") for name, line in long_forms(ast.parse(path.read_text()))]
    assert [place for name, place in found if name not in EXCEPTIONS] == []
    assert set(EXCEPTIONS) <= {name for name, _place in found}, "an exception that is no longer needed"

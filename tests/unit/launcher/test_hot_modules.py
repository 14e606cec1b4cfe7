"""The import budget of the hot commands, and their frozen file."""

from __future__ import annotations

import marshal
import sys
from pathlib import Path

import pytest

from ocipy.cli.table import HOT
from ocipy.launcher import freeze
from tests.unit import hot

#: The build in place for this Python: the environment .venv belongs to build/default, build/venvs/X to build/X.
ENVIRONMENT = Path(sys.prefix)
BUILDS = ENVIRONMENT.parent / "build" if ENVIRONMENT.name == ".venv" else ENVIRONMENT.parents[1]
BUILD = BUILDS / ("default" if ENVIRONMENT.name == ".venv" else ENVIRONMENT.name)
FROZEN = BUILD / "_frozen.bin"


@pytest.mark.parametrize("command", HOT)
def test_a_hot_command_imports_what_is_listed(command: str) -> None:
    now, allowed = hot.imported()[command], hot.listed()[command]
    assert now == allowed, (
        "the budget has changed; if that is intended: `python -m tests.unit.hot > tests/unit/hot_modules.txt`"
    )


@pytest.mark.parametrize("command", HOT)
def test_a_hot_command_runs_in_the_core_phase(command: str) -> None:
    cold = freeze.obstacles(freeze.read_sources(hot.PACKAGE))
    assert {name: cold[name] for name in hot.imported()[command] if name in cold} == {}


def test_the_modules_listed_as_built_in_are_built_in() -> None:
    assert set(sys.builtin_module_names) >= freeze.BUILT_IN


def test_neither_the_directory_of_the_executable_nor_of_the_snapshot_contains_the_other() -> None:
    """They are two layers of an overlay, which must not overlap (ELOOP): sealed commands would start slowly."""
    of_executable = (ENVIRONMENT / "bin").resolve()
    assert not of_executable.is_relative_to(BUILD.resolve())
    assert not BUILD.resolve().is_relative_to(of_executable)


@pytest.mark.skipif(not FROZEN.exists(), reason="there is no build in place")
def test_the_frozen_file_is_not_stale() -> None:
    assert freeze.differences(FROZEN, hot.PACKAGE) == [], "run `make build`"


def source(tmp_path: Path, text: str) -> freeze.Source:
    (tmp_path / "module.py").write_text(text)
    return freeze.Source("package.module", tmp_path / "module.py")


def test_the_frozen_form_leaves_out_what_only_readers_need(tmp_path: Path) -> None:
    text = '''"""Words."""
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing
else:
    a: int = 1
b: str
class C:
    """Words."""
    d: int = 2
    e: list[Undefined]
    def f(self, x: Undefined, *y: Undefined, z: Undefined = 3, **w: Undefined) -> Undefined:
        """Words."""
        assert x, "never evaluated"
        v: int = x + z
        return v, C.__annotations__
'''
    namespace: dict[str, object] = {"__name__": "package.module"}
    exec(marshal.loads(freeze.compile_module(source(tmp_path, text))), namespace)
    assert namespace["a"] == 1
    assert "typing" not in namespace
    assert "annotations" not in namespace
    assert not namespace.get("__doc__")
    cls = namespace["C"]
    assert not cls.f.__annotations__  # type: ignore[attr-defined]
    assert cls().f(0) == (3, {})  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import re", {"re"}),
        ("import a.b as c, posix", {"a.b", "posix"}),
        ("from package import other, name", {"package", "package.other"}),
        ("from . import other", {"package", "package.other"}),
        ("from .other import x", {"package.other"}),
        ("from ..package.other import x", {"package.other"}),
        ("def f():\n    import re", set()),
        ("if TYPE_CHECKING:\n    import re", set()),
        ("try:\n    import re\nexcept ImportError:\n    import json", {"re", "json"}),
        ("class C:\n    import re", {"re"}),
        ("from __future__ import annotations", set()),
    ],
)
def test_imports_at_the_top_level(tmp_path: Path, text: str, wanted: set[str]) -> None:
    module = source(tmp_path, text)
    known = {"package.other": module, "package": module}
    assert freeze.imported_at_top(module, known) == wanted


def test_an_obstacle_spreads_to_its_importers(tmp_path: Path) -> None:
    for name, text in (("a", "import p.b"), ("b", "from p import c"), ("c", "import re"), ("d", "import posix")):
        (tmp_path / "p").mkdir(exist_ok=True)
        (tmp_path / "p" / f"{name}.py").write_text(text)
    (tmp_path / "p/__init__.py").touch()
    assert freeze.obstacles(freeze.read_sources(tmp_path / "p")) == {"p.c": "re", "p.b": "p.c", "p.a": "p.b"}


def test_unchanged_modules_are_taken_from_the_old_file(tmp_path: Path) -> None:
    one = source(tmp_path, "x = 1")
    file = tmp_path / "frozen"
    file.write_bytes(freeze.frozen_file({one.name: one}, {}))
    digest, code = freeze.read_frozen(file)["package.module"]
    assert (digest, code) == (one.digest, freeze.compile_module(one))
    assert freeze.frozen_file({one.name: one}, {"package.module": (digest, b"kept")}).endswith(b"kept")
    assert not freeze.frozen_file({one.name: one}, {"package.module": (b"other", b"kept")}).endswith(b"kept")
    assert freeze.read_frozen(tmp_path / "missing") == {}


def test_the_frozen_form_has_the_constants_as_numbers(tmp_path: Path) -> None:
    text = """from ocipy.linux.constants import O_PATH, SIGKILL
table: dict[str, int] = {"kill": SIGKILL}
def flags() -> int:
    return O_PATH | SIGKILL
"""
    code = marshal.loads(freeze.compile_module(source(tmp_path, text)))
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert namespace["table"] == {"kill": 9}
    assert namespace["flags"]() == freeze.constants()["O_PATH"] | 9  # type: ignore[operator]
    assert "SIGKILL" not in namespace


def test_a_constant_cannot_be_assigned_to(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SIGKILL is a kernel constant"):
        freeze.compile_module(source(tmp_path, "from ocipy.linux.constants import SIGKILL\nSIGKILL = 1\n"))

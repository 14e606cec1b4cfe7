"""Imports go down: ARCHITECTURE.md's table of rooms holds, and no modules import one another in a circle."""

from __future__ import annotations

import ast
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.folders import Folders
from tests.unit.launcher.test_hot_modules import BUILD
from tests.unit.layering import TOP, Room, circles, graph, graph_of_c, imports, modules, room_of, rooms

ARCHITECTURE = (TOP / "ARCHITECTURE.md").read_text()
ROOMS = rooms(ARCHITECTURE)
KNOWN = modules()
EDGES = graph(KNOWN)
# The only upward import, which ARCHITECTURE.md names: that command is a separate program on top of the library.
HANDED_OVER = {("ocipy.cli.commands.box", "ocipy.box.cli")}
# They name modules of other rooms only as data: those to freeze, in a snapshot, and to touch while it is made.
BUILD_TOOLS = {"ocipy.launcher.freeze", "ocipy.cli.cold", "ocipy.cli.trial"}
# As meson names their object files, which it puts into a directory for each program and library.
C_SOURCES = ["_".join(path.relative_to(TOP).parts) for path in sorted((TOP / "ocipy").rglob("*.c"))]
MESON = (TOP / "meson.build").read_text()
PROGRAMS = sorted({path.parent for path in BUILD.glob("*.p/*.c.o")})
# Access to the machine: these modules, and all of posix except these functions, which only read libc's constants.
DOORS = {"subprocess", "socket", "time", "pathlib", "ocipy.linux._kernel"}
PURE = {"strerror", "sysconf"}


def test_the_table_is_read() -> None:
    table = "| `ocipy/a/` | says | b, c |\n| `ocipy/b.py`, `ocipy/c/` | says | for all |\n| `ocipy/d/` | says |  |\n"
    first, second, third = rooms(table)
    assert first == Room(("a",), frozenset(("b", "c")), False)
    assert second == Room(("b", "c"), frozenset(), True)
    assert not third.uses


@pytest.mark.parametrize(
    "line",
    [
        "from ocipy.host import lane",
        "import ocipy.host.lane",
        "from ocipy.host.lane import carry_out",
        "def f():\n    from ocipy.host import lane",
        "if TYPE_CHECKING:\n    from ocipy.host.lane import HostRun",
        "__import__('ocipy.host.lane')",
    ],
)
def test_every_kind_of_import_is_seen(line: str) -> None:
    assert list(imports(ast.parse(line), KNOWN)) == ["ocipy.host.lane"]


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_module_has_one_room() -> None:
    names = [name for room in ROOMS for name in room.names]
    assert len(names) == len(set(names))
    assert {room_of(module, ROOMS).name for module in KNOWN} == {room.name for room in ROOMS}


@pytest.mark.parametrize("module", [name for name in KNOWN if name not in BUILD_TOOLS])
def test_imports_go_down(module: str) -> None:
    own = room_of(module, ROOMS)
    for other in EDGES[module]:
        room = room_of(other, ROOMS)
        if room is own or (module, other) in HANDED_OVER:
            continue
        assert ROOMS.index(room) > ROOMS.index(own), f"{module} imports {other}, of a room above its own"
        assert room.is_for_all or room.name in own.uses, f"{module} imports {other}: no use of {own.name}"


@pytest.mark.parametrize("room", [room for room in ROOMS if not room.is_for_all], ids=lambda room: str(room.name))
def test_a_room_uses_every_room_that_its_row_names(room: object) -> None:
    used = {
        room_of(other, ROOMS)
        for module in KNOWN
        if room_of(module, ROOMS) is room and module not in BUILD_TOOLS
        for other in EDGES[module]
        if (module, other) not in HANDED_OVER
    } - {room}
    assert {other.name for other in used if not other.is_for_all} == next(r for r in ROOMS if r is room).uses


def test_no_modules_import_one_another() -> None:
    edges = {name: {other for other in its if (name, other) not in HANDED_OVER} for name, its in EDGES.items()}
    assert circles({name: its if name not in BUILD_TOOLS else set() for name, its in edges.items()}) == []


@pytest.mark.skipif(not PROGRAMS, reason="there is no build in place")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_no_c_files_call_one_another(program: Path) -> None:
    """In no program or library do C files use one another's functions or variables, directly or indirectly."""
    edges = graph_of_c(program / f"{name}.o" for name in C_SOURCES if (program / f"{name}.o").exists())
    assert edges
    assert circles(edges) == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has this launcher")
def test_no_c_files_of_the_launcher_without_glibc_call_one_another(tmp_path: Path) -> None:
    """meson.build compiles it in one call, so it leaves no object files."""
    options = ["-D_GNU_SOURCE", "-DOCIPY_QUICK", "-DOCIPY_SNAPSHOT", '-DOCIPY_STDLIB="/"', '-DOCIPY_START_LIBRARY="/a"']
    names = re.findall(
        r"ocipy/launcher/(\w+)\.c", MESON[MESON.index("quick_sources =") : MESON.index("# musl's headers")]
    )
    assert {"quick", "restore"} <= set(names)
    sources = [str(TOP / "ocipy/launcher" / f"{name}.c") for name in (*names, "stdlib", "trust")]
    subprocess.run([shutil.which("cc") or "gcc", "-c", *options, *sources], cwd=tmp_path, check=True)
    assert circles(graph_of_c(tmp_path.glob("*.o"))) == []


def test_the_picture_of_a_tree_shows_its_folders_and_circles(tmp_path: Path) -> None:
    for name, text in {
        "cli/main.py": "import ocipy.plan.a, ocipy.plan.b",
        "plan/a.py": "from ocipy.host.c import d",
        "plan/b.py": "NAME = 'ocipy.cli.main'",
        "host/c.py": "import ocipy.plan.b",
        "errors.py": "",
    }.items():
        path = tmp_path / "ocipy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    folders = Folders(tmp_path)
    assert folders.floors() == [["cli"], ["errors.py", "host", "plan"]]
    first, circle, *_ = folders.text()
    assert first == (
        "3 folders, 1 single modules; 5 modules, 5 lines; 4 imports, on 3 arrows; circles of folders: 1, of modules: 0"
    )
    assert circle == "circle of folders: host plan"
    assert "".join(folders.svg()).count('stroke="#c00"') == 2


def test_the_only_upward_import_is_documented() -> None:
    for module, _ in HANDED_OVER:
        assert module.removeprefix("ocipy.").replace(".", "/") + ".py" in ARCHITECTURE


@pytest.mark.parametrize("module", [name for name in KNOWN if name.startswith("ocipy.plan.")])
def test_a_plan_is_made_without_touching_the_machine(module: str) -> None:
    """Planning imports nothing, directly or indirectly, that calls the kernel."""
    pending, reached = [module], set[str]()
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += EDGES[name]
    for name in reached:
        assert not _doors(KNOWN[name]), f"{module} comes to {name}, which imports {_doors(KNOWN[name])}"


def _doors(path: Path) -> set[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found & DOORS | set(_calls_of_posix(path))


def _calls_of_posix(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("posix", "os"):
            if node.attr.islower() and node.attr not in PURE:
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Name) and node.id == "open":
            yield "open"

"""A snapshot's Python asleep, and how it wakes. Runs in a separate Python, because this changes the interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from ocipy.launcher import at_hand

PLACES = [str(Path(at_hand.__file__).resolve().parents[2]), sysconfig.get_path("platlib")]
BEGIN = f"""
import os, sys
sys.path[:0] = {PLACES!r}
def describe(stream):
    if stream is None:
        return None
    names = ("name", "mode", "encoding", "errors", "line_buffering", "write_through")
    raw = stream.buffer.raw
    return {{name: getattr(stream, name) for name in names}} | {{
        "fd": stream.fileno(), "raw": raw.name, "closefd": raw.closefd, "class": type(stream.buffer).__name__}}
STREAMS = ("stdin", "stdout", "stderr")
before = {{name: describe(getattr(sys, name)) for name in STREAMS}}
from ocipy.cli import cold
from ocipy.launcher import at_hand
"""
END = """
import json
with open(sys.argv[1], "w") as file:
    json.dump(told, file)
"""


# `make asan` preloads its runtimes, without which the extension cannot be loaded.
SANITIZERS = {name: os.environ[name] for name in ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}


def in_python(script: str, env: dict[str, str] | None = None, shell: str = 'exec "$@"') -> dict[str, Any]:
    """Run the script in a Python that is started as the executable starts it (python_start.c). Returns its `told`."""
    environment = {**SANITIZERS, **(env or {})}
    with tempfile.NamedTemporaryFile() as file:
        python = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", BEGIN + script + END, file.name]
        done = subprocess.run(
            ["/bin/sh", "-c", shell, "sh", *python], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return dict(json.load(file))


def test_a_sleeping_process_finds_no_files_and_has_no_streams() -> None:
    told = in_python("""
cold.load()
try:
    import colorsys
    found = True
except ModuleNotFoundError:
    found = False
streams = [sys.stdin, sys.stdout, sys.stderr, sys.__stdout__]
at_hand.wake()
import colorsys
told = {"found": found, "streams": streams}
""")
    assert told == {"found": False, "streams": [None] * 4}


def test_all_modules_are_there_and_no_libraries() -> None:
    told = in_python("""
import ocipy.linux._kernel  # built into the executable
cold.load()
libraries = [name for name in sys.modules if str(getattr(sys.modules[name], "__file__", "")).endswith(".so")]
libraries.remove("ocipy.linux._kernel")
told = {"missing": sorted(set(cold.MODULES) - set(sys.modules)), "libraries": libraries}
""")
    assert told["libraries"] == []
    if {"_socket", "_struct", "select", "array", "zlib"} <= set(sys.builtin_module_names):
        assert told["missing"] == []


def test_a_module_that_needs_a_library_is_left_out_with_its_imports() -> None:
    told = in_python("""
sys.modules.pop("decimal", None)
before = set(sys.modules)
at_hand.load(("lzma", "colorsys"), lambda: None)
told = {"new": sorted(set(sys.modules) - before), "complete": at_hand.complete}
at_hand.wake()
import lzma
""")
    assert not told["complete"], "a command that runs asleep would not find its modules"
    assert "colorsys" in told["new"]
    assert {"lzma", "_compression"} & set(told["new"]) == set()


def test_the_streams_are_as_python_makes_them() -> None:
    told = in_python("""
cold.load()
at_hand.wake()
told = {"before": before, "after": {name: describe(getattr(sys, name)) for name in STREAMS}}
print("printed", "\\udcff", file=sys.stderr)
""")
    # Without a terminal, and with the executable's error handler.
    told["before"]["stdin"]["errors"] = told["before"]["stdout"]["errors"] = "surrogateescape"
    assert told["after"] == told["before"]


def test_a_closed_stream_is_none() -> None:
    told = in_python(
        """
cold.load()
at_hand.wake()
told = {"stdout": sys.stdout is None, "stdin": sys.stdin is None}
""",
        shell='exec "$@" >&-',
    )
    assert told == {"stdout": True, "stdin": False}


def test_a_woken_process_has_its_own_environment() -> None:
    told = in_python(
        """
import posix
cold.load()
posix.environ.clear()
posix.environ[b"OTHER"] = b"1"
at_hand.wake()
told = {"environ": dict(os.environ), "get": os.getenv("OTHER")}
""",
        env={"SECRET": "x"},
    )
    assert told == {"environ": {"OTHER": "1"}, "get": "1"}


def test_a_fork_of_a_sleeping_process_runs_no_handlers(tmp_path: Path) -> None:
    (tmp_path / "registers.py").write_text(
        "import os\nran = []\nos.register_at_fork(after_in_child=lambda: ran.append(1))\n"
    )
    told = in_python(f"""
sys.path.append({str(tmp_path)!r})
at_hand.load((*cold.MODULES, "registers"), lambda: None)
import registers
def in_child():
    pid = os.fork()
    if pid == 0:
        os._exit(len(registers.ran))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
asleep = in_child()
at_hand.wake()
told = {{"asleep": asleep, "woken": len(registers.ran), "awake": in_child()}}
""")
    assert told == {"asleep": 0, "woken": 1, "awake": 2}, "another process went to sleep, so the child's handlers run"


def test_the_end_runs_exit_handlers_and_flushes(tmp_path: Path) -> None:
    told = in_python(
        f"""
cold.load()
first = at_hand.finish()
at_hand.wake()
import atexit
sys.stdout = open({str(tmp_path / "out")!r}, "w")
atexit.register(sys.stdout.write, "end")
awake = at_hand.finish()
told = {{"asleep": first, "awake": awake, "out": open({str(tmp_path / "out")!r}).read()}}
""",
    )
    assert told == {"asleep": False, "awake": True, "out": "end"}

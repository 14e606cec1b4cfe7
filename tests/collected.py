"""All existing tests, from pytest's collection: for tables that name tests."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
FOLDERS = ("tests/unit", "tests/integration")


@functools.cache
def tests() -> frozenset[str]:
    """Every "file::function" of FOLDERS, and every file, from the top of the tree. Raises CalledProcessError."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "--color=no", *FOLDERS]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=True)
    names = {line.partition("[")[0] for line in done.stdout.split("\n") if "::" in line}
    return frozenset(names | {name.partition("::")[0] for name in names})

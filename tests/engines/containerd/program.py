"""The containerd under test: the system's, or the version in OCIPY_TEST_CONTAINERD, built from its Go module."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

from conformance.suite import cache_root, find_go, go_environment
from tests.engines import engine

MODULE = "github.com/containerd/containerd/v2"
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr")


@cache
def path() -> str:
    """PATH with the containerd under test. Raises subprocess.CalledProcessError if it can't be built."""
    wanted = os.environ.get("OCIPY_TEST_CONTAINERD")
    return f"{_built(wanted)}:{engine.PATH}" if wanted else engine.PATH


def _built(version: str) -> Path:
    """The directory of the programs of a version 2.x, in the project's cache: built once, in some minutes."""
    folder = cache_root() / f"containerd-{version}"
    if not (folder / PROGRAMS[-1]).exists():
        print(f"building containerd {version} into {folder}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**go_environment(), "CGO_ENABLED": "0"}
        # A separate module: `go install` refuses modules with a replace directive.
        (folder / "go.mod").write_text("module engines.test\n\ngo 1.21\n")
        # ctr is built last: its presence shows that all are there.
        for name in PROGRAMS:
            package = f"{MODULE}/cmd/{name}"
            for words in (
                ["get", f"{package}@v{version}"],
                ["build", "-ldflags=-s -w", "-o", f"{folder}/{name}", package],
            ):
                subprocess.run([find_go(), *words], check=True, cwd=folder, env=environment)
    return folder


@cache
def major() -> int:
    """The major version. Raises FileNotFoundError if containerd is not installed."""
    said = subprocess.run(["containerd", "--version"], check=True, capture_output=True, text=True, env={"PATH": path()})
    found = re.search(r" v?(\d+)\.\d+\.\d+", said.stdout)
    assert found, said.stdout
    return int(found[1])


def forms() -> list[str]:
    """The forms of the file that it reads, by the words before them in docs/containerd.md; its current form last."""
    return ["/etc/containerd/config.toml", *(["version = 3"] if major() >= 2 else [])]

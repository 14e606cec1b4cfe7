"""Finds the runtimes to compare; installs runc 1.5.2 into the cache if it is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from conformance.suite import cache_root, find_go

TOP = Path(__file__).resolve().parent.parent
RUNC_VERSION = "1.5.2"
RUNC_MODULE = f"github.com/opencontainers/runc@v{RUNC_VERSION}"


class MissingError(Exception):
    """A runtime is not available; the text says why."""


@dataclass(frozen=True)
class Contestant:
    """A runtime with its heading and its executable."""

    name: str
    path: str


def version(path: str) -> str:
    """`NAME VERSION` as the runtime prints it. Raises MissingError if it does not run."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingError(f"{path} does not run: {error}") from error
    found = re.match(r"(\S+) version ([0-9][^\s+-]*)", done.stdout)
    return f"{found[1]} {found[2]}" if found else Path(path).name


def fresh_runc() -> str:
    """The path of runc 1.5.2 in the cache; builds it if needed, with seccomp (libseccomp-dev)."""
    folder = cache_root() / f"runc-{RUNC_VERSION}"
    path = folder / "runc"
    if not path.exists():
        go = find_go()
        print(f"building {RUNC_MODULE} into {folder}")
        environment = {"GOBIN": str(folder), "GOTOOLCHAIN": "local", "CGO_ENABLED": "1"}
        done = subprocess.run(
            [
                "env",
                *(f"{name}={value}" for name, value in environment.items()),
                go,
                "install",
                "-tags",
                "seccomp",
                RUNC_MODULE,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise MissingError(f"go install {RUNC_MODULE} failed (libseccomp-dev is needed):\n{done.stderr}")
    return str(path)


def contestants(ours: str, others: list[str]) -> list[Contestant]:
    """Ours, runc 1.5.2, the distribution's runc and crun if installed, and those given by path."""
    paths = [ours, fresh_runc(), *(found for name in ("runc", "crun") if (found := shutil.which(name))), *others]
    named: list[Contestant] = []
    for path in paths:
        name = version(path)
        if name not in (contestant.name for contestant in named):
            named.append(Contestant(name, path))
    return named

"""A Debian that may be changed: commands in it, and the files that it has."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

# Not part of an installation: what the kernel and apt keep, downloads, this test's own files.
LEFT_OUT = (
    "/dev",
    "/proc",
    "/run",
    "/src",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/apt",
    "/var/log",
    "/root/.cache",
    "/root/.local/state",
)


class Failure(Exception):
    """A check has failed."""


def say(text: str) -> None:
    """Report progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*words: str | Path, check: bool = True, **options: object) -> str:
    """Run a command. Return its output. Raises Failure, with the end of the output, if it fails."""
    done = subprocess.run(
        [str(word) for word in words],
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options},  # type: ignore[call-overload]
    )
    output = done.stdout.decode(errors="replace")
    if check and done.returncode:
        raise Failure(f"{' '.join(map(str, words))}: exit status {done.returncode}\n{output[-3000:]}")
    return str(output)


def expect(holds: object, what: str) -> None:
    """Raise Failure unless it holds."""
    if not holds:
        raise Failure(what)


def files() -> set[str]:
    """Every file, directory and link of this Debian, except the excluded ones and the system's compiled modules."""
    found = set()
    for place, directories, names in os.walk("/"):
        inside = [name for name in directories if os.path.join(place, name) not in LEFT_OUT]
        directories[:] = [name for name in inside if name != "__pycache__"]
        found |= {os.path.join(place, name) for name in (*directories, *names)}
    return found


def install(*packages: str | Path) -> None:
    """Install Debian packages."""
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)

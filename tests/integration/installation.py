"""An installation by meson install, in a directory of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


class Installation:
    """prefix: where bin and lib are."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.executable = prefix / "bin/ocipy"
        (self.launcher,) = (path.parent for path in prefix.rglob("_frozen.bin"))
        self.snapshot = self.launcher / "_snapshot.bin"
        self.new = self.launcher / "_snapshot.bin.new"

    def call(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Call it with an empty environment."""
        default = {"capture_output": True, "text": True, "check": False, "cwd": "/", "env": {}, "timeout": 60}
        command = [str(self.executable), *words]
        return subprocess.run(command, **{**default, **options})  # type: ignore[call-overload, no-any-return]

    def start(self, **options: object) -> str:
        """How it says that it starts."""
        lines = self.call("--version", **options).stdout.splitlines()
        assert len([line for line in lines if "version" in line]) == 1, "Docker takes the last one"
        return lines[-1].removeprefix("start: ")

    def forget(self) -> None:
        """As it was installed: without a snapshot."""
        for path in (self.snapshot, self.new):
            path.unlink(missing_ok=True)
        self.snapshot.touch(0o644)


def install(build: Path, prefix: Path) -> Installation:
    """Install the checkout with meson alone."""
    tools = TOP / ".venv/bin"
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "NINJA": str(tools / "ninja")}
    for words in (["setup", str(build), "--prefix", str(prefix)], ["install", "-C", str(build), "--quiet"]):
        done = subprocess.run(
            [tools / "meson", *words], cwd=TOP, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return Installation(prefix)


def makers(executable: Path) -> list[int]:
    """The processes that make a snapshot for an installation."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.readlink(process / "exe") == str(executable):
                    found.append(int(process.name))
            except OSError:
                continue
    return found

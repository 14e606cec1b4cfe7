"""An installation by meson install, in a separate directory."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.harness import wait_until

TOP = Path(__file__).resolve().parents[2]
# Seconds for a snapshot: it is made on an idle processor only.
PATIENCE = 60
NONE_YET = "slow (there is no snapshot yet; one is made when this command ends)"


class Installation:
    """prefix: where bin and lib are."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.executable = prefix / "bin/ocipy"
        (self.launcher,) = (path.parent for path in prefix.rglob("_frozen.bin"))
        behind = self.launcher / "ocipy-python"  # what has Python, if the executable is only in front of it
        self.python = behind if behind.exists() else self.executable
        self.snapshot = self.launcher / "_snapshot.bin"
        self.new = self.launcher / "_snapshot.bin.new"

    def call(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Call it with an empty environment."""
        default = {"capture_output": True, "text": True, "check": False, "cwd": "/", "env": {}, "timeout": 60}
        command = [str(self.executable), *words]
        return subprocess.run(command, **{**default, **options})  # type: ignore[call-overload, no-any-return]

    def start(self, **options: object) -> str:
        """The line of --version about the start."""
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


def makers(installed: Installation) -> list[int]:
    """The processes that make a snapshot for an installation."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.readlink(process / "exe") in {str(installed.executable), str(installed.python)}:
                    found.append(int(process.name))
            except OSError:
                continue
    return found


def stopped_maker(installed: Installation) -> int:
    """The process that the command before has left, stopped while it works."""
    wait_until(installed.new.exists, "the begin of its work")
    # It forks for its rehearsals.
    (pid,) = (pid for pid in makers(installed) if os.getsid(pid) == pid)
    os.kill(pid, signal.SIGSTOP)
    return pid


def is_made(installed: Installation) -> None:
    """Wait for a snapshot, and check it."""
    wait_until(lambda: installed.snapshot.stat().st_size > 1 << 20, "the snapshot", PATIENCE)
    wait_until(lambda: not makers(installed), "the end of the process that makes it", PATIENCE)
    assert sorted(path.name for path in installed.launcher.glob("_snapshot*")) == ["_snapshot.bin"]
    assert installed.snapshot.stat().st_mode & 0o7777 == 0o644
    assert installed.start() == "snapshot"

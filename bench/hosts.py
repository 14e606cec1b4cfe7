"""The hosts that `bench/run --hosts` measures on, one after the other, and what is wanted on each.

v1 is this host as it is. v2 and systemd are the tests' private systemd with only the v2 hierarchy (tests/systemd/run
--unified), without and with --systemd-cgroup.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import Samples
from bench.report import TITLES, ratio
from bench.runtimes import TOP

HOSTS = {
    "v1": "this host as it is, cgroupfs",
    "v2": "cgroup v2 alone, cgroupfs",
    "systemd": "cgroup v2 alone, --systemd-cgroup",
}


@dataclass(frozen=True)
class Bar:
    """The highest allowed ratio of a median to that of `base`: a name, whose newest version counts, or one version."""

    operation: str
    base: str
    most: float


def _cgroupfs(crun: str) -> tuple[Bar, ...]:
    return Bar("run", crun, 1.2), Bar("create", crun, 1.3), Bar("exec", crun, 1.3), Bar("five", crun, 0.95)


BARS = {
    "v1": _cgroupfs("crun 1.8"),
    "v2": _cgroupfs("crun"),
    "systemd": (Bar("run", "runc", 0.6), Bar("create", "runc", 0.55), Bar("five", "runc", 0.55)),
}


def bars(host: str, ours: Samples, others: list[Samples]) -> list[tuple[str, float, float, bool]]:
    """(title, ratio, bar, whether it is met) of each bar for which there is a runtime to compare with."""
    found = []
    for bar in BARS[host]:
        named = [one for one in others if f"{one.contestant.name}.".startswith((bar.base + " ", bar.base + "."))]
        if named:
            base = max(named, key=lambda one: version_of(one.contestant.name))
            figure = ratio(ours, base, bar.operation)
            title = f"{TITLES.get(bar.operation, bar.operation)}, compared with {base.contestant.name}"
            found.append((title, figure, bar.most, figure <= bar.most))
    return found


def version_of(name: str) -> tuple[int, ...]:
    """The numbers of "crun 1.8.1"."""
    return tuple(int(part) for part in name.rpartition(" ")[2].split(".") if part.isdigit())


def place_of(file: Path, host: str) -> Path:
    """A host's own file: bench.svg becomes bench-v2.svg."""
    return file.with_stem(f"{file.stem}-{host}")


def run_on(host: str, options: list[str], document: Path) -> tuple[int, dict[str, Any]]:
    """bench/run on that host: its exit status, and what it wrote into the file, which is removed."""
    command = [sys.executable, str(TOP / "bench/run"), "--on", host, "--json", str(document), *options]
    if host != "v1":
        command = [str(TOP / "tests/systemd/run"), "--unified", "--", *command]
    process = subprocess.Popen(command)
    try:
        status = process.wait()
        if not document.exists():
            return status or 2, {}
        return status, dict(json.loads(document.read_text()))
    finally:
        if process.poll() is None:
            process.terminate()  # it cleans up
            process.wait()
        document.unlink(missing_ok=True)

"""systemd, as the tests of the systemd cgroup driver see it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.harness.container import Container
from tests.harness.host import scaled

MIB = 1 << 20


V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False, timeout=scaled(30))


def shown(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit, from `systemctl show`."""
    lines = systemctl("show", unit, "-p", ",".join(names)).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def is_gone(unit: str) -> bool:
    """Whether systemd has no unit of that name, not even a failed one (exit status 4 of systemctl(1))."""
    return systemctl("status", unit).returncode == 4


def control_file(path: str, v1: str, v2: str, v1_controller: str) -> str:
    """The content of a control file of the cgroup at this path."""
    place = Path("/sys/fs/cgroup") / path / v2 if V2 else Path("/sys/fs/cgroup", v1_controller, path, v1)
    return place.read_text().strip()


def unit_of(container: Container) -> str:
    return f"ocipy-{container.id}.scope"


def places(container: Container) -> set[str]:
    """The container's cgroup in every mounted hierarchy."""
    return {path for name, path in container.cgroups().items() if name == "" or not V2}


def need(*controllers: str) -> None:
    """Skip the test if the v2 hierarchy lacks these controllers, as on a hybrid host (tests/systemd/run --unified)."""
    there = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split() if V2 else list(controllers)
    missing = sorted(set(controllers) - set(there))
    if missing:
        pytest.skip(f"needs the v2 controllers {' '.join(missing)}, which this host uses on v1")

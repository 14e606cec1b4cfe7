"""Boxes of a user whose own systemd runs: limits in the cgroup that it delegates, and the boxes' usage.

tests/vm/run has every controller. `tests/systemd/run --unified` has only hugetlb, so there every limit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.conftest import DIRECTORY, MANAGER, Box, has_user_systemd, systemctl
from tests.harness.user import USER

DROP_IN = Path(f"/run/systemd/system/{MANAGER}.d/delegate.conf")
CONTROLLERS = Path(f"/sys/fs/cgroup/user.slice/user-{USER}.slice/{MANAGER}/cgroup.controllers")
MIB = 1 << 20


def begin(delegated: str) -> Iterator[None]:
    """The user's systemd, as a login starts it, with these controllers."""
    if not has_user_systemd():
        pytest.skip("needs systemd and the v2 hierarchy: tests/systemd/run --unified, tests/vm/run")
    DROP_IN.parent.mkdir(parents=True)
    DROP_IN.write_text(f"[Service]\nDelegate=\nDelegate={delegated}\n")
    try:
        systemctl("daemon-reload")
        systemctl("start", MANAGER)
        yield
        systemctl("stop", MANAGER)
    finally:
        DROP_IN.unlink()
        DROP_IN.parent.rmdir()
        systemctl("daemon-reload")


@pytest.fixture(scope="module")
def manager() -> Iterator[None]:
    """Delegates memory, pids and cpu, but not cpuset."""
    yield from begin("memory pids cpu")


def delegated(*names: str) -> None:
    """Skip if the host lacks a controller."""
    missing = set(names) - set(CONTROLLERS.read_text().split())
    if missing:
        pytest.skip(f"the v2 hierarchy of this host does not have {' '.join(sorted(missing))}")


@pytest.fixture
def own(manager: None, user_box: Box) -> Box:
    """The user's boxes, called from the login session."""
    user_box.environment["XDG_RUNTIME_DIR"] = DIRECTORY
    return user_box


def test_limits_are_applied_and_what_it_uses_is_shown(own: Box) -> None:
    delegated("memory", "pids", "cpu")
    flags = ("-m", "50M", "--pids-limit", "20", "--cpu", "50000 100000", "--cpu-shares", "512")
    own("run", "-d", "--name", "web", "--network", "none", *flags, "busybox", "sleep", "1000")
    files = [f"/sys/fs/cgroup/{name}" for name in ("memory.max", "pids.max", "cpu.max", "cpu.weight")]
    assert own("exec", "web", "cat", *files).stdout.split() == [str(50 * MIB), "20", "50000", "100000", "59"]
    used = own.inspect("web")["usage"]
    assert (used["memoryLimit"], used["processesLimit"], used["processes"], used["oomKills"]) == (50 * MIB, 20, 1, 0)
    assert 0 < used["memory"] <= used["memoryPeak"] < 50 * MIB and used["cpuMicroseconds"] > 0
    assert re.search(r"^web .* 50\.0 MiB ", own("stats", "--no-stream").stdout, re.MULTILINE)
    explained = own("explain", "web").stdout
    assert f"memory.max {50 * MIB}" in explained and f"user-{USER}.slice/{MANAGER}/" in explained
    own("stop", "-t", "0", "web")
    assert own.inspect("web")["state"]["oomKills"] == 0


@pytest.mark.smoke
def test_running_out_of_memory_is_reported(own: Box) -> None:
    delegated("memory")
    flags = ("--network", "none", "--memory", "50M", "--tmpfs", "/eaten:size=100m")
    eat = ("busybox", "sh", "-c", "exec dd if=/dev/zero of=/eaten/x bs=1M count=60")
    own("run", "-d", "--name", "behind", *flags, *eat)
    assert own("wait", "behind").stdout == "137\n"
    assert "ran out of memory" in own("run", "--name", "before", *flags, *eat, status=137).stderr
    for name in ("behind", "before"):
        state = own.inspect(name)["state"]
        assert (state["exitStatus"], state["oomKilled"]) == (137, True) and state["oomKills"] in (1, 2)
    assert own("ps", "-a").stdout.count("exited (137), out of memory") == 2


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("flag", "value", "controller"),
    [
        ("--memory", "50M", "memory"),
        ("--pids-limit", "20", "pids"),
        ("--cpus", "0.5", "cpu"),
        ("--cpu-shares", "512", "cpu"),
        ("--cpuset-cpus", "0", "cpuset"),
    ],
)
def test_a_limit_without_delegation_is_refused_by_name(own: Box, flag: str, value: str, controller: str) -> None:
    if controller in CONTROLLERS.read_text().split():
        pytest.skip(f"{controller} is delegated")
    there = controller in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    for words in (["-d"], []):
        done = own("run", *words, "--network", "none", flag, value, "busybox", "true", status=125)
        refused = f"{flag}: cannot set " if there else f"{flag}: the cgroup controller {controller} is not available"
        assert refused in done.stderr and ("Delegate=" in done.stderr) == there
    assert own("ps", "-aq").stdout == ""


def test_without_a_limit_it_runs(own: Box) -> None:
    assert own.run("busybox", "id", "-u") == "0\n"

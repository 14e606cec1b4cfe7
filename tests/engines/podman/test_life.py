"""pause, update, stats, restart policies, and podman's commands for many containers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.podman.conftest import Podman
from tests.harness import cgroup_value, wait_until

Inspect = Callable[[str, str], str]
Sleeping = Callable[..., str]


@pytest.mark.smoke
@pytest.mark.feature("pause, unpause")
def test_pause(podman: Podman, name: str, inspect: Inspect, tmp_path: Path) -> None:
    script = "while :; do echo x >> /mnt/ticks; sleep 0.05; done"
    podman("run", "-d", "--name", name, "-v", f"{tmp_path}:/mnt", "alpine", "sh", "-c", script).ok()
    ticks = tmp_path / "ticks"
    wait_until(ticks.exists)
    podman("pause", name).ok()
    assert inspect(name, "{{.State.Status}}") == "paused"
    before = ticks.stat().st_size
    time.sleep(0.3)
    assert ticks.stat().st_size == before
    podman("pause", name).fails()
    podman("unpause", name).ok()
    assert inspect(name, "{{.State.Status}}") == "running"
    wait_until(lambda: ticks.stat().st_size > before)
    podman("unpause", name).fails()


@pytest.mark.feature("rm --force of one that is paused")
def test_remove_a_paused_container(podman: Podman, sleeping: Sleeping) -> None:
    one = sleeping()
    podman("pause", one).ok()
    podman("rm", "--force", "--time", "0", one).ok()


@pytest.mark.feature("stop and rm in the host's PID namespace")
def test_stop_without_pid_namespace(podman: Podman, name: str) -> None:
    """All of its processes end: podman calls kill --all."""
    podman("run", "-d", "--name", name, "--pid=host", "alpine", "sh", "-c", "sleep 1000 & exec sleep 1000").ok()
    podman("stop", "--time", "1", name).ok()


@pytest.mark.feature("stop of one that is only created")
def test_stop_of_a_created_container(podman: Podman, name: str, inspect: Inspect) -> None:
    podman("create", "--name", name, "alpine", "sleep", "1000").ok()
    podman("init", name).ok()
    assert inspect(name, "{{.State.Status}}") == "initialized"
    podman("start", name).ok()
    podman("stop", "--time", "0", name).ok()


@pytest.mark.feature("restart policy")
def test_restart_on_failure(podman: Podman, name: str, inspect: Inspect) -> None:
    podman("run", "-d", "--name", name, "--restart=on-failure:2", "alpine", "sh", "-c", "echo once; exit 9").ok()
    wait_until(lambda: podman("logs", name).stdout == "once\n" * 3, timeout=60)
    wait_until(lambda: inspect(name, "{{.State.Status}}") == "exited", timeout=30)
    assert inspect(name, "{{.State.ExitCode}}") == "9"


def test_restart(podman: Podman, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping()
    first = inspect(one, "{{.State.Pid}}")
    podman("restart", "--time", "0", one).ok()
    assert inspect(one, "{{.State.Pid}}") != first


@pytest.mark.smoke
def test_update(podman: Podman, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping("--memory", "64m")
    podman("update", "--memory", "96m", "--cpus", "0.25", one).ok()
    pid = int(inspect(one, "{{.State.Pid}}"))
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert cgroup_value(pid, "", "memory.max") == str(96 << 20)
        assert cgroup_value(pid, "", "cpu.max").split()[0] == "25000"
    else:
        assert cgroup_value(pid, "memory", "memory.limit_in_bytes") == str(96 << 20)
        assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us") == "25000"
    podman("update", "--cpuset-cpus", "1000", one).fails()


@pytest.mark.smoke
def test_stats(podman: Podman, sleeping: Sleeping) -> None:
    (figures,) = json.loads(podman("stats", "--no-stream", "--format", "json", sleeping("--memory", "64m")).text)
    assert figures["mem_usage"].endswith("/ 67.11MB")
    assert figures["pids"] == "1"


@pytest.mark.feature("50 containers at once")
def test_fifty_at_once(podman: Podman, name: str) -> None:
    names = [f"{name}-{number}" for number in range(50)]
    script = f"""
        for one; do echo $one; done |
        xargs -P 4 -I NAME {" ".join(podman.argv("run", "-d", "--network=none", "--name", "NAME"))} alpine sleep 1000"""
    podman.call(["sh", "-c", script, "sh", *names], timeout=240).ok()
    assert set(podman("ps", "--format", "{{.Names}}").lines) == set(names)
    podman("rm", "--force", "--time", "0", *names, timeout=240)

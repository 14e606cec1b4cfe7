"""Limits of Docker containers: set, changed, counted and reached."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.conftest import CGROUP_PARENT
from tests.engines.docker.conftest import Docker
from tests.harness import cgroup_value, wait_until

Inspect = Callable[[str, str], str]
Sleeping = Callable[..., str]


def limits(pid: int) -> dict[str, str]:
    """The kernel's limits on its memory, pids and CPU quota."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        files = {"memory": "memory.max", "pids": "pids.max", "cpu": "cpu.max"}
    else:
        files = {"memory": "memory.limit_in_bytes", "pids": "pids.max", "cpu": "cpu.cfs_quota_us"}
    return {controller: cgroup_value(pid, controller, file).split()[0] for controller, file in files.items()}


@pytest.mark.smoke
@pytest.mark.feature("--memory --cpus --pids-limit")
def test_limits(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    pid = int(inspect(sleeping("--memory", "64m", "--cpus", "0.5", "--pids-limit", "50"), "{{.State.Pid}}"))
    assert CGROUP_PARENT in Path(f"/proc/{pid}/cgroup").read_text()
    assert limits(pid) == {"memory": str(64 << 20), "pids": "50", "cpu": "50000"}


@pytest.mark.feature("--pids-limit holds")
def test_pids_limit_is_enforced(docker: Docker) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all"
    docker("run", "--rm", "--pids-limit", "8", "alpine", "sh", "-c", script).fails("can't fork")


@pytest.mark.smoke
@pytest.mark.feature("OOM kill reported as such")
def test_oom_killed(docker: Docker, name: str, inspect: Inspect) -> None:
    command = ["sh", "-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived"]
    answer = docker("run", "--name", name, "--memory", "32m", "--memory-swap", "32m", "alpine", *command)
    assert (answer.status, answer.stdout) == (137, "")
    assert inspect(name, "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 137"


@pytest.mark.smoke
def test_update(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping("--memory", "64m")
    flags = ["--memory", "96m", "--memory-swap", "96m", "--cpus", "0.25", "--pids-limit", "77"]
    docker("update", *flags, one).ok()
    assert limits(int(inspect(one, "{{.State.Pid}}"))) == {"memory": str(96 << 20), "pids": "77", "cpu": "25000"}
    docker("update", "--cpuset-cpus", "0", one).ok()
    assert docker("exec", one, "grep", "Cpus_allowed_list", "/proc/self/status").text.split()[1] == "0"
    docker("update", "--cpuset-cpus", "1000", one).fails()


@pytest.mark.feature("update of one that is paused")
def test_update_a_paused_container(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping()
    docker("pause", one).ok()
    docker("update", "--pids-limit", "66", one).ok()
    assert limits(int(inspect(one, "{{.State.Pid}}")))["pids"] == "66"
    docker("unpause", one).ok()


@pytest.mark.smoke
def test_stats(docker: Docker, sleeping: Sleeping) -> None:
    one = sleeping("--memory", "64m")
    docker("exec", "--detach", one, "sh", "-c", "while :; do :; done").ok()

    def figures() -> dict[str, str]:
        found: dict[str, str] = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", one).text)
        return found

    wait_until(lambda: float(figures()["CPUPerc"].rstrip("%")) > 5, timeout=60)
    assert figures()["MemUsage"].endswith("/ 64MiB")
    assert figures()["PIDs"] == "2"

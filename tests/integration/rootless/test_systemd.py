"""--systemd-cgroup for a user: a scope of the user's systemd, in its delegated cgroup.

tests/systemd/run starts systemd with the manager of the user 4242.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container
from tests.harness.host import scaled
from tests.harness.user import USER, UserNamespace, UserRuntime

pytestmark = [pytest.mark.needs_systemd, pytest.mark.needs_cgroup_v2]

MIB = 1 << 20
TOP = Path("/sys/fs/cgroup")
MANAGER = f"user@{USER}.service"
DIRECTORY = f"/run/user/{USER}"
PLACE = f"/user.slice/user-{USER}.slice/{MANAGER}"


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As the user."""
    become = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": DIRECTORY}
    return subprocess.run(
        [*become, "systemctl", "--user", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(30),
        env=environment,
    )


def shown(unit: str, *names: str) -> dict[str, str]:
    lines = systemctl("show", unit, "-p", ",".join(names)).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def is_gone(unit: str) -> bool:
    return systemctl("status", unit).returncode == 4


@pytest.fixture(scope="module", autouse=True)
def manager() -> Iterator[None]:
    """The user's systemd, as a login starts it."""
    subprocess.run(["systemctl", "start", MANAGER], check=True, timeout=scaled(60))
    yield
    subprocess.run(["systemctl", "stop", MANAGER], check=True, timeout=scaled(60))


@pytest.fixture
def runtime(runtime: UserRuntime) -> UserRuntime:
    """The runtime called as the user's engine does: create and run get --systemd-cgroup, and with exec only
    XDG_RUNTIME_DIR. state, kill and delete find everything in the state."""
    begin = runtime.begin

    def with_systemd(*args: str | Path, **options: Any) -> Any:
        if args[0] in ("create", "run"):
            options.setdefault("env", {"XDG_RUNTIME_DIR": DIRECTORY})
            return begin("--systemd-cgroup", *args, **options)
        return begin(*args, **options)

    runtime.begin = with_systemd  # type: ignore[method-assign]
    return runtime


@pytest.fixture
def bundle(bundle: Bundle) -> Bundle:
    return bundle.args("sleep", "1000")


def unit_of(container: Container) -> str:
    return f"ocipy-{container.id}.scope"


def has_controllers(*names: str) -> bool:
    """The user's systemd has delegated them."""
    return set(names) <= set((TOP / PLACE.lstrip("/") / "cgroup.controllers").read_text().split())


def test_from_create_to_delete(container: Callable[..., Container], bundle: Bundle, runtime: UserRuntime) -> None:
    """The caller is in a system cgroup, like a login session's."""
    one = container(bundle)
    unit = unit_of(one)
    assert one.cgroups()[""] == f"{PLACE}/user.slice/{unit}"
    assert shown(unit, "ActiveState", "Slice", "Delegate") == {
        "ActiveState": "active",
        "Slice": "user.slice",
        "Delegate": "yes",
    }
    one.start()
    said = runtime.call("exec", one.id, "grep", "^0::", "/proc/self/cgroup").ok().stdout
    assert said in ("0::/\n", f"0::{one.cgroups()['']}\n"), "with a cgroup namespace, or without"
    runtime.call("kill", one.id, "KILL").ok()
    one.reap()
    runtime.delete(one.id).ok()
    assert is_gone(unit)
    assert not list(TOP.glob(f"**/{unit}"))


@pytest.mark.smoke
def test_limits(container: Callable[..., Container], bundle: Bundle, runtime: UserRuntime) -> None:
    if not has_controllers("memory", "pids", "cpu"):
        pytest.skip("memory, pids and cpu are not delegated: this host's v2 hierarchy does not have them")
    bundle.linux["resources"] = {
        "memory": {"limit": 64 * MIB},
        "cpu": {"quota": 12345, "period": 100000},
        "pids": {"limit": 33},
    }
    one = container(bundle).start()
    unit = unit_of(one)
    assert shown(unit, "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec") == {
        "MemoryMax": str(64 * MIB),
        "TasksMax": "33",
        "CPUQuotaPerSecUSec": "130ms",
    }
    place = TOP / PLACE.lstrip("/") / "user.slice" / unit

    def kernels() -> list[str]:
        return [(place / file).read_text().strip() for file in ("memory.max", "cpu.max", "pids.max")]

    assert kernels() == [str(64 * MIB), "13000 100000", "33"]
    runtime.call("update", "--memory", "100M", "--pids-limit", "44", one.id).ok()
    assert kernels() == [str(100 * MIB), "13000 100000", "44"]
    assert shown(unit, "MemoryMax", "TasksMax") == {"MemoryMax": str(100 * MIB), "TasksMax": "44"}


@pytest.mark.smoke
def test_a_limit_is_enforced(runtime: UserRuntime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    if not has_controllers("pids"):
        pytest.skip("pids is not delegated: this host's v2 hierarchy does not have it")
    bundle.linux["resources"] = {"pids": {"limit": 8}}
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all of them"
    assert "all of them" not in runtime.run(bundle.sh(script), new_id()).stdout


def test_inside_podmans_user_namespace(
    container: Callable[..., Container], without_user_namespace: Bundle, podmans: UserNamespace, runtime: UserRuntime
) -> None:
    """Our uid is 0 there; systemd identifies us by the kernel's credentials."""
    without_user_namespace.args("sleep", "1000")
    one = container(without_user_namespace)
    assert one.cgroups()[""] == f"{PLACE}/user.slice/{unit_of(one)}"
    one.start()
    runtime.call("exec", one.id, "true").ok()
    runtime.delete(one.id, force=True).ok()
    assert is_gone(unit_of(one))


def test_without_a_systemd_for_the_user(runtime: UserRuntime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    result = runtime.create(bundle, new_id(), env={"XDG_RUNTIME_DIR": "/nowhere"})
    result.fails("/linux/cgroupsPath: cannot connect to systemd: unix:path=/nowhere/bus: ", "XDG_RUNTIME_DIR")
    runtime.create(bundle, new_id(), env={}).fails("cannot connect to systemd: no address is known")


def test_after_the_users_systemd_has_ended(
    container: Callable[..., Container], bundle: Bundle, runtime: UserRuntime
) -> None:
    """The end of the last session ends its containers; only their state remains."""
    one = container(bundle, sh="trap 'exit 0' TERM; sleep 1000 & wait").start()
    subprocess.run(["systemctl", "stop", MANAGER], check=True, timeout=scaled(60))
    try:
        one.reap(timeout=30)
        runtime.delete(one.id).ok()
    finally:
        subprocess.run(["systemctl", "start", MANAGER], check=True, timeout=scaled(60))

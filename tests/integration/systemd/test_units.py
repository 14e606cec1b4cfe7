"""--systemd-cgroup: a scope for each container. These tests need systemd; tests/systemd/run starts one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Runtime
from tests.harness.host import scaled, wait_until
from tests.harness.systemd import MIB, V2, control_file, is_gone, need, places, shown, systemctl, unit_of

pytestmark = pytest.mark.needs_systemd


@pytest.mark.smoke
def test_from_create_to_delete(container: Callable[..., Container], bundle: Bundle, runtime: Runtime) -> None:
    one = container(bundle)
    unit = unit_of(one)
    assert shown(unit, "ActiveState", "Slice", "Delegate", "Transient", "DefaultDependencies", "Description") == {
        "ActiveState": "active",
        "Slice": "system.slice",
        "Delegate": "yes",
        "Transient": "yes",
        "DefaultDependencies": "no",
        "Description": f"ocipy container {one.id} ({runtime.root})",
    }
    assert places(one) == {f"/system.slice/{unit}"}, "in every hierarchy, before create returns"
    one.start()
    assert runtime.state(one.id)["status"] == "running"
    runtime.call("kill", one.id, "KILL").ok()
    one.reap()
    runtime.delete(one.id).ok()
    assert is_gone(unit)
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{unit}"))


def test_run_to_its_end(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    id = new_id()
    result = runtime.run(bundle.sh("cat /proc/self/cgroup; exit 7"), id)
    assert result.status == 7
    assert is_gone(f"ocipy-{id}.scope")


def test_run_keeps_nothing_of_its_preparations(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    """systemd reports everything to every connection, so run closes its own. Its only child is init."""
    id = new_id()
    bundle.write()
    running = runtime.begin("run", "--bundle", bundle.path, id)
    wait_until(lambda: id in runtime.ids() and "running" in [one["status"] for one in runtime.containers()])
    proc = Path("/proc", str(running.process.pid))
    wait_until(
        lambda: [fd for fd in proc.joinpath("fd").iterdir() if int(fd.name) > 2 and "socket:" in os.readlink(fd)] == []
    )
    children = (proc / "task" / str(running.process.pid) / "children").read_text().split()
    assert children == [str(runtime.state(id)["pid"])]
    runtime.call("kill", id, "KILL").ok()
    assert running.process.wait() == 137
    assert is_gone(f"ocipy-{id}.scope")


def test_a_command_that_fails_early_leaves_no_child(runtime: Runtime, bundle: Bundle) -> None:
    """This process would adopt orphans."""
    bundle.config["process"]["args"] = 7
    runtime.create(bundle, "early").fails("/process/args")
    runtime.call("create", "--no-such-flag", globals=["--systemd-cgroup"]).fails("no-such-flag")
    orphans = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    assert orphans == ""


@pytest.mark.smoke
def test_systemd_and_the_kernel_have_the_limits(container: Callable[..., Container], bundle: Bundle) -> None:
    need("memory", "cpu", "cpuset", "pids")
    bundle.linux["resources"] = {
        "memory": {"limit": 64 * MIB},
        "cpu": {"shares": 512, "quota": 12345, "period": 100000, "cpus": "0"},
        "pids": {"limit": 33},
    }
    one = container(bundle).start()
    unit = unit_of(one)
    found = shown(unit, "TasksMax", "CPUQuotaPerSecUSec", "AllowedCPUs", "MemoryMax" if V2 else "MemoryLimit")
    assert sorted(found.values()) == ["0", "130ms", "33", str(64 * MIB)]

    def kernels() -> list[str]:
        place = f"system.slice/{unit}"
        return [
            control_file(place, "memory.limit_in_bytes", "memory.max", "memory"),
            control_file(place, "cpu.cfs_quota_us", "cpu.max", "cpu").removesuffix(" 100000"),
            control_file(place, "pids.max", "pids.max", "pids"),
            control_file(place, "cpuset.cpus", "cpuset.cpus", "cpuset"),
        ]

    wanted = [str(64 * MIB), "13000", "33", "0"]
    assert kernels() == wanted
    systemctl("daemon-reload").check_returncode()
    systemctl("set-property", "--runtime", unit, "CPUWeight=50" if V2 else "CPUShares=100").check_returncode()
    assert kernels() == wanted, "what systemd writes by itself is the same"


@pytest.mark.smoke
def test_a_reload_does_not_open_the_devices(container: Callable[..., Container], bundle: Bundle) -> None:
    """systemd rewrites the device list, on v1 from scratch, so it must know our rules."""
    bundle.linux["resources"] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        ]
    }
    for capabilities in bundle.process["capabilities"].values():
        capabilities.append("CAP_MKNOD")
    one = container(bundle, sh="mknod /dev/other c 1 11; mknod /dev/zero2 c 1 5; sleep 1000").start()
    wait_until(lambda: one.root("/dev/zero2").exists())
    unit = unit_of(one)
    assert shown(unit, "DevicePolicy") == {"DevicePolicy": "strict"}

    def verdicts() -> tuple[int, int]:
        script = "head -c1 /dev/zero2 >/dev/null; echo $?; head -c1 /dev/other >/dev/null; echo $?"
        said = one.runtime.call("exec", one.id, "sh", "-c", script)
        numbers = said.stdout.split()
        return int(numbers[0]), int(numbers[1])

    assert verdicts()[0] == 0
    assert verdicts()[1] != 0
    systemctl("daemon-reload").check_returncode()
    systemctl("set-property", "--runtime", unit, "TasksMax=50").check_returncode()
    time.sleep(scaled(0.1))
    assert verdicts()[0] == 0
    assert verdicts()[1] != 0


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("system.slice:p:{id}", "system.slice/p-{id}.scope"),
        ("a-b.slice:p:{id}", "a.slice/a-b.slice/p-{id}.scope"),
        ("-.slice:p:{id}", "p-{id}.scope"),
        (":p:{id}", "system.slice/p-{id}.scope"),
    ],
)
def test_slices(
    container: Callable[..., Container], bundle: Bundle, new_id: Callable[[], str], path: str, place: str
) -> None:
    name = new_id().rpartition("-")[0]
    bundle.linux["cgroupsPath"] = path.format(id=name)
    one = container(bundle)
    assert places(one) == {"/" + place.format(id=name)}
    assert shown(f"p-{name}.scope", "ActiveState") == {"ActiveState": "active"}


def test_the_wrong_form_of_a_path(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    bundle.linux["cgroupsPath"] = "/docker/0123"
    runtime.create(bundle, new_id()).fails(
        'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/docker/0123" instead'
    )


def test_an_id_that_cannot_be_a_unit_name(container: Callable[..., Container], bundle: Bundle, new_id: Any) -> None:
    id = new_id() + "+1"
    one = container(bundle, id=id)
    assert shown(f"ocipy-{id}.scope".replace("+", "\\x2b"), "ActiveState") == {"ActiveState": "active"}
    one.start()


def test_annotations(container: Callable[..., Container], bundle: Bundle) -> None:
    bundle.config["annotations"] = {
        "org.systemd.property.KillSignal": "12",
        "org.systemd.property.TimeoutStopUSec": "uint64 10000000",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.RuntimeMaxSec": "300",
        "org.systemd.property.Description": "'somebody else'",
    }
    one = container(bundle)
    assert shown(unit_of(one), "KillSignal", "TimeoutStopUSec", "CollectMode", "RuntimeMaxUSec", "Description") == {
        "KillSignal": "12",
        "TimeoutStopUSec": "10s",
        "CollectMode": "inactive-or-failed",
        "RuntimeMaxUSec": "5min",
        "Description": "somebody else",
    }


def test_an_unknown_property(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    bundle.config["annotations"] = {"org.systemd.property.Nonsense": "1"}
    result = runtime.create(bundle, new_id())
    result.fails("/annotations/org.systemd.property.Nonsense: ", "Nonsense")


def test_update(container: Callable[..., Container], bundle: Bundle, runtime: Runtime) -> None:
    need("memory", "cpu", "pids")
    bundle.linux["resources"] = {"memory": {"limit": 64 * MIB}, "pids": {"limit": 33}}
    one = container(bundle).start()
    runtime.call("update", "--memory", "100M", "--cpu-quota", "12345", "--pids-limit", "44", one.id).ok()
    unit = unit_of(one)
    found = shown(unit, "TasksMax", "CPUQuotaPerSecUSec", "MemoryMax" if V2 else "MemoryLimit")
    assert sorted(found.values()) == [str(100 * MIB), "130ms", "44"]
    place = f"system.slice/{unit}"
    assert control_file(place, "memory.limit_in_bytes", "memory.max", "memory") == str(100 * MIB)
    assert control_file(place, "cpu.cfs_quota_us", "cpu.max", "cpu").startswith("13000")
    assert control_file(place, "pids.max", "pids.max", "pids") == "44"


def test_update_from_standard_input(container: Callable[..., Container], bundle: Bundle, runtime: Runtime) -> None:
    """As containerd calls it. A closed standard input must not become the connection to systemd."""
    need("pids")
    one = container(bundle).start()
    runtime.call("update", "--resources", "-", one.id, stdin=b'{"pids": {"limit": 44}}').ok()
    assert shown(unit_of(one), "TasksMax") == {"TasksMax": "44"}


def test_exec_pause_and_resume(container: Callable[..., Container], bundle: Bundle, runtime: Runtime) -> None:
    one = container(bundle).start()
    said = runtime.call("exec", one.id, "cat", "/proc/self/cgroup").ok()
    bundle_view = {line.split(":", 2)[2] for line in said.lines}
    assert bundle_view <= {"/", f"/system.slice/{unit_of(one)}"}
    runtime.call("pause", one.id).ok()
    assert runtime.state(one.id)["status"] == "paused"
    runtime.call("resume", one.id).ok()
    assert runtime.state(one.id)["status"] == "running"
    runtime.call("pause", one.id).ok()
    runtime.delete(one.id, force=True).ok()
    assert is_gone(unit_of(one))


def test_a_slice_by_annotation(container: Callable[..., Container], bundle: Bundle) -> None:
    """The unit's cgroup is not in its expected place, so the runtime looks for it."""
    bundle.config["annotations"] = {"org.systemd.property.Slice": "'c-d.slice'"}
    one = container(bundle).start()
    assert places(one) == {f"/c.slice/c-d.slice/{unit_of(one)}"}


def test_a_cgroup_namespace_begins_at_the_unit(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    result = runtime.run(bundle.sh("cut -d: -f3 /proc/self/cgroup | sort -u"), new_id()).ok()
    assert result.lines == ["/"]


def test_a_joined_namespace(container: Callable[..., Container], bundle: Bundle) -> None:
    """systemd moves the stage, and init is the stage's child."""
    bundle.without_namespace("network")
    bundle.linux["namespaces"].append({"type": "network", "path": "/proc/self/ns/net"})
    one = container(bundle).start()
    assert places(one) == {f"/system.slice/{unit_of(one)}"}

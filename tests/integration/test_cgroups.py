"""The limits of the container's cgroup, as the kernel shows them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import (
    Bundle,
    Container,
    Host,
    Result,
    Runtime,
    cgroup_dir,
    cgroup_value,
)
from tests.harness.look import cgroup_hierarchies

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]
RunScript = Callable[..., Result]

MEGABYTE = 1 << 20


# resources, and for v1 and v2: controller, file, content.
LIMITS: list[tuple[dict[str, Any], tuple[str, str, str], tuple[str, str, str]]] = [
    (
        {"memory": {"limit": 100 * MEGABYTE}},
        ("memory", "memory.limit_in_bytes", str(100 * MEGABYTE)),
        ("memory", "memory.max", str(100 * MEGABYTE)),
    ),
    (
        {"memory": {"limit": -1}},
        ("memory", "memory.limit_in_bytes", "9223372036854771712"),
        ("memory", "memory.max", "max"),
    ),
    (
        {"memory": {"reservation": 50 * MEGABYTE}},
        ("memory", "memory.soft_limit_in_bytes", str(50 * MEGABYTE)),
        ("memory", "memory.low", str(50 * MEGABYTE)),
    ),
    ({"cpu": {"shares": 512}}, ("cpu", "cpu.shares", "512"), ("cpu", "cpu.weight", "59")),
    ({"cpu": {"quota": 20000}}, ("cpu", "cpu.cfs_quota_us", "20000"), ("cpu", "cpu.max", "20000 100000")),
    (
        {"cpu": {"period": 50000, "quota": 20000}},
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.max", "20000 50000"),
    ),
    ({"cpu": {"quota": 20000, "burst": 1000}}, ("cpu", "cpu.cfs_burst_us", "1000"), ("cpu", "cpu.max.burst", "1000")),
    ({"cpu": {"idle": 1}}, ("cpu", "cpu.idle", "1"), ("cpu", "cpu.idle", "1")),
    ({"cpu": {"cpus": "0"}}, ("cpuset", "cpuset.cpus", "0"), ("cpuset", "cpuset.cpus", "0")),
    ({"cpu": {"mems": "0"}}, ("cpuset", "cpuset.mems", "0"), ("cpuset", "cpuset.mems", "0")),
    ({"pids": {"limit": 17}}, ("pids", "pids.max", "17"), ("pids", "pids.max", "17")),
    ({"pids": {"limit": -1}}, ("pids", "pids.max", "max"), ("pids", "pids.max", "max")),
]


def limits() -> list[Any]:
    """As parameters, since runc before 1.2 does not know burst and idle."""
    late = pytest.mark.differs_from_runc("older ones do not know it", always=False)
    return [
        pytest.param(
            *entry,
            id=json.dumps(entry[0]).replace('"', ""),
            marks=[late] if {"burst", "idle"} & set(entry[0].get("cpu", ())) else [],
        )
        for entry in LIMITS
    ]


@pytest.mark.parametrize(("resources", "v1", "v2"), limits())
def test_limit(
    container: MakeContainer,
    bundle: Bundle,
    host: Host,
    resources: dict[str, Any],
    v1: tuple[str, str, str],
    v2: tuple[str, str, str],
) -> None:
    bundle.linux["resources"].update(resources)
    one = container(bundle.args("sleep", "1000"))
    controller, file, content = v2 if host.cgroup == "v2" else v1
    assert cgroup_value(one.pid, controller, file) == content


@pytest.mark.needs_cgroup_v1
def test_memory_and_swap(container: MakeContainer, bundle: Bundle) -> None:
    """In either order: the kernel refuses a limit above that of memory and swap."""
    bundle.linux["resources"]["memory"] = {"limit": 100 * MEGABYTE, "swap": 150 * MEGABYTE, "swappiness": 10}
    one = container(bundle.args("sleep", "1000"))
    assert cgroup_value(one.pid, "memory", "memory.memsw.limit_in_bytes") == str(150 * MEGABYTE)
    assert cgroup_value(one.pid, "memory", "memory.swappiness") == "10"


@pytest.mark.needs_cgroup_v1
@pytest.mark.ocipy_only("runc ignores it")
def test_a_limit_that_the_kernel_accepts_and_ignores(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """Since Linux 5.16 memory.kmem.limit_in_bytes does nothing."""
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (5, 16):
        pytest.skip("this kernel limits the kernel's memory")
    bundle.linux["resources"]["memory"] = {"kernel": 100 * MEGABYTE}
    runtime.create(bundle.args("true"), new_id()).fails("/linux/resources/memory/kernel")


@pytest.mark.needs_cgroup_v1
def test_limits_of_a_cgroup_that_was_limited_before(container: MakeContainer, bundle: Bundle) -> None:
    """The existing cgroup has limits with which the kernel refuses the new ones in their usual order."""
    place = cgroup_hierarchies()["memory"] / bundle.linux["cgroupsPath"].lstrip("/")
    place.mkdir(parents=True)
    (place / "memory.limit_in_bytes").write_text(str(50 * MEGABYTE))
    (place / "memory.memsw.limit_in_bytes").write_text(str(50 * MEGABYTE))
    bundle.linux["resources"]["memory"] = {"limit": 100 * MEGABYTE, "swap": 150 * MEGABYTE}
    one = container(bundle.args("sleep", "1000"))
    assert (place / "memory.limit_in_bytes").read_text().strip() == str(100 * MEGABYTE)
    assert (place / "memory.memsw.limit_in_bytes").read_text().strip() == str(150 * MEGABYTE)
    one.end()
    if place.exists():
        place.rmdir()


@pytest.mark.needs_cgroup_v1
@pytest.mark.parametrize("kind", ["read_bps", "write_bps", "read_iops", "write_iops"])
def test_block_io_throttle(container: MakeContainer, bundle: Bundle, kind: str) -> None:
    device = next((path for path in sorted(Path("/sys/block").iterdir()) if (path / "dev").exists()), None)
    if device is None:
        pytest.skip("this host has no block device")
    major, minor = (int(number) for number in (device / "dev").read_text().split(":"))
    field = "throttle" + kind.replace("read_", "Read").replace("write_", "Write").replace("bps", "Bps")
    field = field.replace("iops", "IOPS") + "Device"
    bundle.linux["resources"]["blockIO"] = {field: [{"major": major, "minor": minor, "rate": 4096}]}
    one = container(bundle.args("sleep", "1000"))
    assert cgroup_value(one.pid, "blkio", f"blkio.throttle.{kind}_device") == f"{major}:{minor} 4096"


@pytest.mark.differs_from_runc("has no limits on the v2 side of a hybrid host", always=False)
def test_hugepages(container: MakeContainer, bundle: Bundle, host: Host) -> None:
    """On v1, on v2, and if only the v2 side of a hybrid host has the controller."""
    hierarchies = cgroup_hierarchies()
    v1 = "hugetlb" in hierarchies
    if not v1 and "hugetlb" not in (hierarchies[""] / "cgroup.controllers").read_text():
        pytest.skip("this host has no hugetlb controller")
    bundle.linux["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 * MEGABYTE}]
    one = container(bundle.args("sleep", "1000"))
    file = "limit_in_bytes" if v1 else "max"
    assert cgroup_value(one.pid, "hugetlb", f"hugetlb.2MB.{file}") == str(4 * MEGABYTE)
    assert cgroup_value(one.pid, "hugetlb", f"hugetlb.2MB.rsvd.{file}") == str(4 * MEGABYTE)


@pytest.mark.needs_cgroup_v2
def test_unified(container: MakeContainer, bundle: Bundle) -> None:
    bundle.linux["resources"]["unified"] = {"memory.high": "104857600", "pids.max": "33", "cgroup.max.depth": "3"}
    bundle.linux["resources"]["pids"] = {"limit": 5}
    one = container(bundle.args("sleep", "1000"))
    place = cgroup_dir(one.pid, "")
    assert [(place / name).read_text().strip() for name in ("memory.high", "pids.max", "cgroup.max.depth")] == [
        "104857600",
        "33",
        "3",
    ]


def test_unified_of_a_missing_controller(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["resources"]["unified"] = {"nosuch.max": "1"}
    result = runtime.create(bundle.args("true"), new_id()).fails()
    if runtime.is_ocipy:
        assert "/linux/resources/unified/nosuch.max" in result.stderr
    assert runtime.ids() == []


@pytest.mark.needs_cgroup_v2
@pytest.mark.ocipy_only("runc ignores what has no equivalent")
@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"swappiness": 10}}, "/linux/resources/memory/swappiness"),
        ({"cpu": {"realtimeRuntime": 1000}}, "/linux/resources/cpu/realtimeRuntime"),
        ({"network": {"classID": 1}}, "/linux/resources/network/classID"),
    ],
)
def test_no_equivalent_on_v2(
    runtime: Runtime, bundle: Bundle, new_id: NewId, resources: dict[str, Any], pointer: str
) -> None:
    bundle.linux["resources"].update(resources)
    runtime.create(bundle.args("true"), new_id()).fails(pointer)


@pytest.mark.smoke
def test_process_is_in_every_hierarchy(container: MakeContainer, bundle: Bundle) -> None:
    one = container(bundle.args("sleep", "1000"))
    path = bundle.linux["cgroupsPath"]
    mounted = cgroup_hierarchies()
    places = {name: where for name, where in one.cgroups().items() if name == "" or name.split(",")[0] in mounted}
    if "" not in mounted:
        places.pop("", None)
    assert set(places.values()) == {path}, places


def test_zeros_are_not_written(container: MakeContainer, bundle: Bundle) -> None:
    """Docker 20.10's values for "no limits"."""
    bundle.linux["resources"].update(
        {
            "cpu": {"shares": 0, "quota": 0, "period": 0},
            "memory": {"disableOOMKiller": False, "limit": 0},
            "blockIO": {"weight": 0},
            "pids": None,
        }
    )
    one = container(bundle.args("sleep", "1000"))
    assert cgroup_value(one.pid, "pids", "pids.max") == "max"


@pytest.mark.smoke
def test_pids_limit_is_enforced(sh: RunScript, bundle: Bundle) -> None:
    bundle.linux["resources"]["pids"] = {"limit": 4}
    result = sh("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo not reached", bundle)
    assert "fork" in result.stderr


@pytest.mark.differs_from_runc("treats 0 as 1 or as no limit, by version", always=False)
def test_pids_limit_of_zero_is_a_limit(container: MakeContainer, bundle: Bundle) -> None:
    bundle.linux["resources"]["pids"] = {"limit": 0}
    one = container(bundle.args("sleep", "1000"))
    assert cgroup_value(one.pid, "pids", "pids.max") == "0"


@pytest.mark.ocipy_only("runc gives podman a limit of 1")
def test_podmans_pids_limit_of_zero_means_unlimited(container: MakeContainer, bundle: Bundle) -> None:
    bundle.linux["resources"]["pids"] = {"limit": 0}
    bundle.config["annotations"] = {"io.container.manager": "libpod"}
    one = container(bundle.args("sleep", "1000"))
    assert cgroup_value(one.pid, "pids", "pids.max") == "max"


def test_memory_limit_kills(sh: RunScript, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 20 * MEGABYTE, "swap": 20 * MEGABYTE}
    result = sh("dd if=/dev/zero of=/dev/null bs=100M count=1; echo status $?", bundle)
    assert "status 137" in result.stdout


@pytest.mark.ocipy_only("another text")
def test_memory_limit_too_low_for_the_start(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 4096, "swap": 4096}
    result = runtime.create(bundle.args("true"), new_id())
    result.fails("/linux/resources/memory/limit")
    assert runtime.ids() == []

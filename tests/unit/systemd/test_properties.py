"""linux.resources as properties of a unit."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.cgroups.devices import ALL, ANY, DEFAULT_RULES, READ
from ocipy.cgroups.resources import limits
from ocipy.errors import Error
from ocipy.systemd.properties import (
    INFINITY,
    for_devices,
    for_resources,
    oom_policy,
    rounded,
)


def properties(resources: Any, mode: str = "v2") -> dict[str, Any]:
    return {name: value for name, _, value, _ in for_resources(resources, mode)}


@pytest.mark.parametrize(
    ("resources", "v2", "v1"),
    [
        ({}, {}, {}),
        ({"memory": None, "cpu": None, "pids": None, "blockIO": None, "unified": None}, {}, {}),
        ({"memory": {"limit": 5000}}, {"MemoryMax": 5000}, {"MemoryLimit": 5000}),
        ({"memory": {"limit": 0, "swap": 0, "reservation": 0}}, {}, {}),
        ({"memory": {"limit": -1}}, {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY}, {"MemoryLimit": INFINITY}),
        ({"memory": {"limit": 10, "swap": 30}}, {"MemoryMax": 10, "MemorySwapMax": 20}, {"MemoryLimit": 10}),
        ({"memory": {"limit": 10, "swap": 10}}, {"MemoryMax": 10, "MemorySwapMax": 0}, {"MemoryLimit": 10}),
        ({"memory": {"limit": 10, "swap": -1}}, {"MemoryMax": 10, "MemorySwapMax": INFINITY}, {"MemoryLimit": 10}),
        ({"memory": {"reservation": 7}}, {"MemoryLow": 7}, {}),
        ({"memory": {"reservation": -1}}, {"MemoryLow": INFINITY}, {}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": 100}, {"CPUShares": 1024}),
        ({"cpu": {"shares": 1024, "idle": 1}}, {"CPUWeight": 0}, {"CPUShares": 1024}),
        ({"cpu": {"shares": 1024, "idle": 0}}, {"CPUWeight": 100}, {"CPUShares": 1024}),
        ({"cpu": {"idle": 0}}, {"CPUWeight": INFINITY}, {}),
        ({"cpu": {"quota": 50000}}, {"CPUQuotaPerSecUSec": 500_000}, {"CPUQuotaPerSecUSec": 500_000}),
        ({"pids": {"limit": 7}}, {"TasksMax": 7}, {"TasksMax": 7}),
        ({"pids": {"limit": 0}}, {"TasksMax": 1}, {"TasksMax": 1}),
        ({"pids": {"limit": -1}}, {"TasksMax": INFINITY}, {"TasksMax": INFINITY}),
        ({"blockIO": {"weight": 1000}}, {"IOWeight": 10000}, {"BlockIOWeight": 1000}),
        ({"cpu": {"cpus": "0-2,9", "mems": "0"}}, *[{"AllowedCPUs": (7, 2), "AllowedMemoryNodes": (1,)}] * 2),
    ],
)
def test_both_modes(resources: Any, v2: dict[str, Any], v1: dict[str, Any]) -> None:
    assert properties(resources) == v2
    assert properties(resources, "v1") == properties(resources, "hybrid") == v1


@pytest.mark.parametrize(
    ("quota", "period", "per_second", "kept"),
    [
        (12345, 0, 130_000, 13000),  # to the next percent of a CPU
        (12345, 100_000, 130_000, 13000),
        (50_000, 100_000, 500_000, 50_000),
        (1, 1_000_000, 10_000, 10_000),
        (150_001, 50_000, 3_010_000, 150_500),
    ],
)
def test_a_quota_is_rounded_up_and_written_rounded(quota: int, period: int, per_second: int, kept: int) -> None:
    resources: Any = {"cpu": {"quota": quota, "period": period}}
    assert properties(resources)["CPUQuotaPerSecUSec"] == per_second
    assert properties(resources).get("CPUQuotaPeriodUSec", 0) == period
    assert rounded(resources) == {"cpu": {"quota": kept, "period": period}}
    assert resources["cpu"]["quota"] == quota, "the config must not change"
    assert rounded(rounded(resources)) == rounded(resources)


def test_systemd_has_no_pids_limit_of_zero_and_the_file_agrees() -> None:
    assert rounded({"pids": {"limit": 0}}) == {"pids": {"limit": 1}}
    assert rounded({"pids": {"limit": 0}, "cpu": {"quota": 1, "period": 1000}})["pids"] == {"limit": 1}
    for limit in (-1, 1, 7):
        assert rounded({"pids": {"limit": limit}}) == {"pids": {"limit": limit}}


def test_without_a_quota_nothing_is_rounded() -> None:
    every: list[Any] = [{}, {"cpu": {}}, {"cpu": {"quota": -1}}, {"cpu": {"period": 1000}}]
    for resources in every:
        assert rounded(resources) is resources
    assert properties({"cpu": {"quota": -1}})["CPUQuotaPerSecUSec"] == INFINITY
    assert properties({"cpu": {"period": 5000}}) == {"CPUQuotaPeriodUSec": 5000, "CPUQuotaPerSecUSec": INFINITY}


def test_properties_that_older_versions_lack() -> None:
    found = for_resources({"cpu": {"period": 5, "cpus": "0", "idle": 1}}, "v2")
    assert {name: since for name, _, _, since in found if since} == {
        "CPUWeight": 252, "CPUQuotaPeriodUSec": 242, "AllowedCPUs": 244,
    }  # fmt: skip


def test_unified_wins_over_what_comes_before() -> None:
    unified = {
        "memory.max": "100", "memory.high": "max", "memory.low": "5", "memory.min": "4", "memory.swap.max": "0",
        "pids.max": "max", "cpuset.cpus": "1", "cpuset.mems": "", "cpu.weight": "55", "io.weight": "3",
        "cpu.max": "50000 100000", "memory.oom.group": "1",
    }  # fmt: skip
    found = for_resources({"memory": {"limit": 50}, "unified": unified}, "v2")
    assert [value for name, _, value, _ in found if name == "MemoryMax"] == [50, 100]
    assert properties({"unified": unified}) == {
        "MemoryMax": 100, "MemoryHigh": INFINITY, "MemoryLow": 5, "MemoryMin": 4, "MemorySwapMax": 0,
        "TasksMax": INFINITY, "AllowedCPUs": (2,), "CPUWeight": 55, "CPUQuotaPeriodUSec": 100_000,
        "CPUQuotaPerSecUSec": 500_000,
    }  # fmt: skip
    assert properties({"unified": {"cpu.max": "max"}}) == {
        "CPUQuotaPeriodUSec": 100_000, "CPUQuotaPerSecUSec": INFINITY,
    }  # fmt: skip
    assert properties({"unified": {"cpu.idle": "1", "cpu.weight": "5"}}) == {"CPUWeight": 0}
    assert properties({"unified": {"cpu.idle": "0", "cpu.weight": "5"}}) == {"CPUWeight": 5}
    assert properties({"unified": {"memory.max": "5"}}, "v1") == {}


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"unified": {"memory.max": "many"}}, "/linux/resources/unified/memory.max"),
        ({"unified": {"memory.max": "-1"}}, "/linux/resources/unified/memory.max"),
        ({"unified": {"cpu.max": "1 x"}}, "/linux/resources/unified/cpu.max"),
        ({"unified": {"cpuset.cpus": "a"}}, "/linux/resources/unified/cpuset.cpus"),
        ({"cpu": {"cpus": "3-1"}}, "/linux/resources/cpu/cpus"),
        ({"cpu": {"mems": "0-99999999"}}, "/linux/resources/cpu/mems"),
        ({"cpu": {"cpus": "0,,1"}}, "/linux/resources/cpu/cpus"),
    ],
)
def test_refused(resources: Any, pointer: str) -> None:
    with pytest.raises(Error) as caught:
        for_resources(resources, "v2")
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    ("resources", "signature"),
    [
        ({"memory": {"limit": 1, "swap": 2, "reservation": 3}, "pids": {"limit": 1}}, "t"),
        ({"cpu": {"cpus": "0"}}, "ay"),
    ],
)
def test_signatures(resources: Any, signature: str) -> None:
    assert {kind for _, kind, _, _ in for_resources(resources, "v2")} == {signature}


def test_every_property_has_a_file_too() -> None:
    resources: Any = {
        "memory": {"limit": 1, "swap": 2, "reservation": 3}, "pids": {"limit": 4}, "blockIO": {"weight": 50},
        "cpu": {"shares": 100, "quota": 5, "period": 1000, "cpus": "0", "mems": "0"},
    }  # fmt: skip
    controllers = ("memory", "pids", "io", "cpu", "cpuset")
    files = {
        action[2]["file"] for action in limits(resources, "v2", controllers).actions if action[0] == "cgroup_write"
    }
    assert files == {
        "memory.max", "memory.swap.max", "memory.low", "pids.max", "io.bfq.weight", "cpu.weight", "cpu.max",
        "cpuset.cpus", "cpuset.mems",
    }  # fmt: skip
    assert len(properties(resources)) == 10  # cpu.max has two


def test_oom_policy() -> None:
    assert oom_policy({"unified": {"memory.oom.group": "1"}}, "v2") == (("OOMPolicy", "s", "kill", 253),)
    assert oom_policy({"unified": {"memory.oom.group": "0"}}, "v2") == (("OOMPolicy", "s", "continue", 253),)
    assert oom_policy({"unified": {"memory.oom.group": "1"}}, "v1") == ()
    assert oom_policy({}, "v2") == ()


class TestDevices:
    NOTHING = ("DeviceAllow", "a(ss)", (), 0)
    STRICT = ("DevicePolicy", "s", "strict", 0)
    AUTO = ("DevicePolicy", "s", "auto", 0)

    def test_the_defaults(self) -> None:
        for mode in ("v1", "v2"):
            nothing, policy, allowed = for_devices(DEFAULT_RULES, mode)
            assert (nothing, policy) == (self.NOTHING, self.STRICT)
            assert allowed[:2] == ("DeviceAllow", "a(ss)")
            assert ("char-*", "m") in allowed[2]
            assert ("block-*", "m") in allowed[2]
            assert ("/dev/char/1:3", "rwm") in allowed[2]
            assert ("char-136", "rwm") in allowed[2]

    def test_all_is_allowed(self) -> None:
        for mode in ("v1", "v2"):
            assert for_devices([(True, "a", ANY, ANY, ALL)], mode) == (self.NOTHING, self.AUTO)

    def test_an_exception_from_what_is_allowed(self) -> None:
        rules = [(True, "c", 1, ANY, ALL), (False, "c", 1, 3, READ)]
        assert for_devices(rules, "v2") == (self.NOTHING, self.AUTO)
        with pytest.raises(Error):
            for_devices(rules, "v1")

    def test_a_minor_of_every_major(self) -> None:
        rules = [(True, "b", ANY, 3, READ), (True, "b", 8, 0, READ)]
        assert for_devices(rules, "v2") == (self.NOTHING, self.AUTO)
        assert for_devices(rules, "v1")[2][2] == (("/dev/block/8:0", "r"),)

    def test_later_rules_win(self) -> None:
        rules = [(True, "c", 1, 3, ALL), (False, "c", 1, 3, READ)]
        assert for_devices(rules, "v2")[2][2] == (("/dev/char/1:3", "wm"),)

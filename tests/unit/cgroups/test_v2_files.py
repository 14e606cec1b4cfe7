"""linux.resources as writes to control files of v2, alone or with v1: the table of docs/cgroups.md, row by row."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ocipy.cgroups.resources import limits
from ocipy.cgroups.v2_files import weight_of_blkio, weight_of_shares
from tests.unit.cgroups.wanted import BASE, V2, arguments, pairs, refused, refused_by_config, writes


class TestHybrid:
    CONTROLLERS = ("memory", "cpu", "unified:hugetlb")

    def test_a_controller_on_the_v2_side(self) -> None:
        made = limits({"hugepageLimits": [{"pageSize": "2MB", "limit": 7}]}, "hybrid", self.CONTROLLERS)
        assert [(controller, file) for controller, file, *_ in arguments(made)] == [
            ("", "hugetlb.2MB.max"),
            ("", "hugetlb.2MB.rsvd.max"),
        ]
        assert made.unified == {"hugetlb"}

    def test_unified_on_the_v2_side(self) -> None:
        made = limits({"unified": {"hugetlb.2MB.max": "7", "cgroup.max.depth": "3"}}, "hybrid", self.CONTROLLERS)
        assert [file for _, file, *_ in arguments(made)] == ["hugetlb.2MB.max", "cgroup.max.depth"]
        assert made.unified == {"hugetlb"}
        refused({"unified": {"memory.high": "1"}}, "hybrid", "/unified/memory.high", self.CONTROLLERS)


class TestV2:
    @pytest.mark.parametrize(
        ("memory", "expected"),
        [
            ({"limit": 100}, [("memory.max", "100")]),
            ({"limit": 100, "swap": 100}, [("memory.swap.max", "0"), ("memory.max", "100")]),
            ({"limit": 100, "swap": 150}, [("memory.swap.max", "50"), ("memory.max", "100")]),
            ({"limit": 100, "swap": -1}, [("memory.swap.max", "max"), ("memory.max", "100")]),
            ({"limit": -1}, [("memory.swap.max", "max"), ("memory.max", "max")]),
            ({"swap": -1}, [("memory.swap.max", "max")]),
            ({"reservation": 50}, [("memory.low", "50")]),
            ({"reservation": -1}, [("memory.low", "max")]),
            ({"kernel": -1, "kernelTCP": -1, "useHierarchy": True, "swappiness": 0}, []),
        ],
    )
    def test_memory(self, memory: Any, expected: list[tuple[str, str]]) -> None:
        assert pairs({"memory": memory}, "v2") == expected

    def test_swap_that_is_not_accounted(self) -> None:
        """Without the file the cgroup has no swap. That is right for 0 and for no limit, but not for a number."""
        optional = [writes({"memory": {"limit": 100, "swap": swap}}, "v2")[0][3] for swap in (100, -1, 150)]
        assert optional == [{"optional": True}, {"optional": True}, {}]

    def test_swap_needs_a_limit(self) -> None:
        refused({"memory": {"swap": 100}}, "v2", "/memory/swap")
        refused({"memory": {"limit": -1, "swap": 100}}, "v2", "/memory/swap")

    def test_check_before_update(self) -> None:
        made = limits({"memory": {"limit": 100, "swap": -1, "checkBeforeUpdate": True}}, "v2", V2)
        assert made.actions[0] == (
            "cgroup_check_memory",
            BASE + "/memory/checkBeforeUpdate",
            {"limit": 100, "swap": 0},
        )

    @pytest.mark.parametrize(
        ("resources", "pointer"),
        [
            ({"memory": {"kernel": 1}}, "/memory/kernel"),
            ({"memory": {"kernelTCP": 1}}, "/memory/kernelTCP"),
            ({"memory": {"swappiness": 1}}, "/memory/swappiness"),
            ({"memory": {"disableOOMKiller": True}}, "/memory/disableOOMKiller"),
            ({"cpu": {"realtimeRuntime": 1}}, "/cpu/realtimeRuntime"),
            ({"cpu": {"realtimePeriod": 1}}, "/cpu/realtimePeriod"),
            ({"blockIO": {"leafWeight": 10}}, "/blockIO/leafWeight"),
            (
                {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}},
                "/blockIO/weightDevice/0/leafWeight",
            ),
            ({"network": {"classID": 1}}, "/network/classID"),
            ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "/network/priorities/0"),
        ],
    )
    def test_no_equivalent(self, resources: Any, pointer: str) -> None:
        assert "no equivalent" in refused(resources, "v2", pointer).what

    @pytest.mark.parametrize(
        ("cpu", "expected"),
        [
            ({"shares": 1024}, [("cpu.weight", "100")]),
            ({"quota": 20000}, [("cpu.max", "20000 100000")]),
            ({"quota": 20000, "period": 50000}, [("cpu.max", "20000 50000")]),
            ({"quota": -1}, [("cpu.max", "max 100000")]),
            ({"period": 50000}, [("cpu.max", "max 50000")]),
            ({"quota": 100, "burst": 50}, [("cpu.max.burst", "50"), ("cpu.max", "100 100000")]),
            ({"shares": 2, "idle": 1}, [("cpu.weight", "1"), ("cpu.idle", "1")]),
            ({"cpus": "0", "mems": "0-1"}, [("cpuset.cpus", "0"), ("cpuset.mems", "0-1")]),
        ],
    )
    def test_cpu(self, cpu: Any, expected: list[tuple[str, str]]) -> None:
        assert pairs({"cpu": cpu}, "v2") == expected

    def test_period_alone_is_blamed_for_itself(self) -> None:
        assert writes({"cpu": {"period": 50000}}, "v2")[0][0] == "/cpu/period"

    def test_shares_to_weight(self) -> None:
        """The three fixed points of the kernel's documentation, and the formula in between."""
        assert [weight_of_shares(shares) for shares in (1, 2, 1024, 262144, 10**9)] == [1, 1, 100, 10000, 10000]
        for shares in [*range(3, 3000), *range(3000, 262144, 997)]:
            log = math.log2(shares)
            assert weight_of_shares(shares) == math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34)), shares

    def test_shares_to_weight_never_falls(self) -> None:
        weights = [weight_of_shares(shares) for shares in range(2, 262145, 13)]
        assert weights == sorted(weights)

    def test_blkio_weight(self) -> None:
        assert [weight_of_blkio(weight) for weight in (10, 500, 1000)] == [1, 4950, 10000]

    def test_block_io(self) -> None:
        io = {
            "weight": 1000,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 602}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 603}],
        }
        assert writes({"blockIO": io}, "v2") == [
            ("/blockIO/weight", "io.bfq.weight", "1000", {"other_file": "io.weight", "other_value": "10000"}),
            (
                "/blockIO/weightDevice/0/weight",
                "io.bfq.weight",
                "8:0 10",
                {"other_file": "io.weight", "other_value": "8:0 1"},
            ),
            ("/blockIO/throttleReadBpsDevice/0", "io.max", "8:0 rbps=600", {}),
            ("/blockIO/throttleWriteBpsDevice/0", "io.max", "8:0 wbps=max", {}),
            ("/blockIO/throttleReadIOPSDevice/0", "io.max", "8:0 riops=602", {}),
            ("/blockIO/throttleWriteIOPSDevice/0", "io.max", "8:16 wiops=603", {}),
        ]

    def test_hugetlb(self) -> None:
        assert writes({"hugepageLimits": [{"pageSize": "1GB", "limit": 5}]}, "v2") == [
            ("/hugepageLimits/0/limit", "hugetlb.1GB.max", "5", {}),
            ("/hugepageLimits/0/limit", "hugetlb.1GB.rsvd.max", "5", {"optional": True}),
        ]

    def test_order_is_runcs(self) -> None:
        resources = {
            "cpu": {"shares": 2, "cpus": "0"},
            "memory": {"limit": 1},
            "pids": {"limit": 1},
            "blockIO": {"weight": 10},
            "rdma": {"x": {"hcaObjects": 1}},
            "unified": {"pids.max": "2"},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        }
        assert [file for file, _ in pairs(resources, "v2")] == [
            "pids.max",
            "memory.max",
            "io.bfq.weight",
            "cpu.weight",
            "cpuset.cpus",
            "hugetlb.2MB.max",
            "hugetlb.2MB.rsvd.max",
            "rdma.max",
            "pids.max",
        ]

    def test_unified_is_written_line_by_line(self) -> None:
        value = "259:0 rbps=2097152 wiops=120\n253:0 rbps=2097152 wiops=120"
        assert pairs({"unified": {"io.max": value}}, "v2") == [("io.max", line) for line in value.split("\n")]

    def test_unified_pressure_belongs_to_no_controller(self) -> None:
        assert pairs({"unified": {"irq.pressure": "some 1 2", "cgroup.type": "threaded"}}, "v2") == [
            ("irq.pressure", "some 1 2"),
            ("cgroup.type", "threaded"),
        ]

    @pytest.mark.parametrize(
        ("file", "pointer"),
        [("perf_event.x", "/unified/perf_event.x"), ("nothing.x", "/unified/nothing.x"), ("a~b.x", "/unified/a~0b.x")],
    )
    def test_unified_that_is_refused(self, file: str, pointer: str) -> None:
        refused({"unified": {file: "1"}}, "v2", pointer)

    @pytest.mark.parametrize(
        ("file", "pointer"),
        [("nothing", "/unified/nothing"), ("../x", "/unified/..~1x"), ("a~b", "/unified/a~0b"), ("..", "/unified/.."),
         ("", "/unified/")],
    )  # fmt: skip
    def test_unified_with_an_invalid_file_name(self, file: str, pointer: str) -> None:
        assert refused_by_config({"unified": {file: "1"}}) == [pointer]

"""linux.resources as writes to control files: the table of docs/cgroups.md, row by row."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ocipy.cgroups.resources import early, limits
from ocipy.cgroups.v2_files import weight_of_blkio, weight_of_shares
from ocipy.cgroups.writes import Writes
from ocipy.errors import Error
from tests.unit.documents import refused_at

V1 = ("cpu,cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb", "net_cls,net_prio", "rdma", "name=systemd")
V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")
BASE = "/linux/resources"


def writes(resources: Any, mode: str = "v1", controllers: tuple[str, ...] | None = None) -> list[tuple[Any, ...]]:
    """(pointer below resources, file, value, options) of each action."""
    if controllers is None:
        controllers = V2 if mode == "v2" else V1
    made = limits(resources, mode, controllers)
    return [
        (
            pointer.removeprefix(BASE),
            arguments.get("file", action),
            arguments.get("value", ""),
            {key: value for key, value in arguments.items() if key not in ("controller", "file", "value")},
        )
        for action, pointer, arguments in made.actions
    ]


def arguments(made: Writes) -> list[tuple[object, ...]]:
    """The arguments of each write: controller, file, value, and options."""
    return [tuple(action[2].values()) for action in made.actions]


def pairs(resources: Any, mode: str = "v1") -> list[tuple[str, str]]:
    return [(file, value) for _, file, value, _ in writes(resources, mode)]


def refused(resources: Any, mode: str, pointer: str, controllers: tuple[str, ...] | None = None) -> Error:
    with pytest.raises(Error) as caught:
        writes(resources, mode, controllers)
    assert caught.value.pointer == BASE + pointer
    return caught.value


def refused_by_config(resources: Any) -> list[str]:
    return [pointer.removeprefix("/linux/resources") for pointer in refused_at({"linux": {"resources": resources}})]


# Engines' values without a meaning: Docker 20.10's zeros, podman's empty objects, nulls.
NOTHING = [
    {},
    {"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}, "network": {}, "hugepageLimits": [], "rdma": {}},
    {"memory": None, "cpu": None, "pids": None, "blockIO": None, "unified": None},
    {"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "", "realtimeRuntime": 0, "realtimePeriod": 0}},
    {"memory": {"disableOOMKiller": False, "limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0}},
    {"memory": {"useHierarchy": False, "checkBeforeUpdate": False, "swappiness": 2**64 - 1}},
    {"blockIO": {"weight": 0, "leafWeight": 0, "weightDevice": [], "throttleReadBpsDevice": None}},
    {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 0, "leafWeight": 0}]}},
    {"network": {"classID": 0, "priorities": []}},
    {"pids": {"limit": None}},
    {"unified": {}},
]


@pytest.mark.parametrize("mode", ["v1", "hybrid", "v2"])
@pytest.mark.parametrize("resources", NOTHING)
def test_not_set_is_left_alone(resources: Any, mode: str) -> None:
    assert writes(resources, mode) == []


@pytest.mark.parametrize("resources", NOTHING)
def test_not_set_needs_no_controller(resources: Any) -> None:
    for mode in ("v1", "v2"):
        assert writes(resources, mode, ()) == []


class TestV1:
    def test_memory(self) -> None:
        memory = {"limit": 100, "swap": 200, "reservation": 50, "kernel": 30, "kernelTCP": 40, "swappiness": 0}
        assert pairs({"memory": {**memory, "disableOOMKiller": True, "useHierarchy": True}}) == [
            ("memory.limit_in_bytes", "100"),
            ("memory.memsw.limit_in_bytes", "200"),
            ("memory.soft_limit_in_bytes", "50"),
            ("memory.kmem.limit_in_bytes", "30"),
            ("memory.kmem.tcp.limit_in_bytes", "40"),
            ("memory.use_hierarchy", "1"),
            ("memory.swappiness", "0"),
            ("memory.oom_control", "1"),
        ]

    def test_limit_and_swap_fit_whatever_stands_there(self) -> None:
        first, second = writes({"memory": {"limit": 100, "swap": 200}})
        assert first[3] == {"defer": BASE + "/memory/limit"}
        assert second[3] == {"resume": True}

    def test_limit_alone_is_not_deferred(self) -> None:
        assert writes({"memory": {"limit": 100}}) == [("/memory/limit", "memory.limit_in_bytes", "100", {})]

    def test_lifting_the_memory_limit_lifts_the_swap_limit(self) -> None:
        (limit, swap) = writes({"memory": {"limit": -1}})
        assert limit[1:3] == ("memory.limit_in_bytes", "-1")
        assert swap[1:] == ("memory.memsw.limit_in_bytes", "-1", {"optional": True, "resume": True})

    def test_swap_below_memory(self) -> None:
        assert refused_by_config({"memory": {"limit": 200, "swap": 100}}) == ["/memory/swap"]

    def test_swappiness_over_100(self) -> None:
        assert refused_by_config({"memory": {"swappiness": 101}}) == ["/memory/swappiness"]

    def test_cpu_in_order(self) -> None:
        cpu = {"shares": 512, "quota": 20000, "period": 50000, "burst": 100, "idle": 1}
        assert writes({"cpu": cpu}) == [
            ("/cpu/shares", "cpu.shares", "512", {"defer": BASE + "/cpu/shares"}),
            ("/cpu/burst", "cpu.cfs_burst_us", "100", {"optional": False, "defer": BASE + "/cpu/burst"}),
            ("/cpu/period", "cpu.cfs_period_us", "50000", {"defer": BASE + "/cpu/period"}),
            ("/cpu/quota", "cpu.cfs_quota_us", "20000", {"resume": True}),
            ("/cpu/idle", "cpu.idle", "1", {"optional": False, "resume": True}),
        ]

    def test_quota_without_limit(self) -> None:
        assert pairs({"cpu": {"quota": -1}}) == [("cpu.cfs_quota_us", "-1")]

    def test_zero_burst_and_idle_need_no_file(self) -> None:
        for mode in ("v1", "v2"):
            assert [one[3]["optional"] for one in writes({"cpu": {"burst": 0, "idle": 0}}, mode)] == [True, True]

    def test_burst_over_quota(self) -> None:
        for mode in ("v1", "v2"):
            assert writes({"cpu": {"quota": -1, "burst": 11}}, mode)
        assert refused_by_config({"cpu": {"quota": 10, "burst": 11}}) == ["/cpu/burst"]

    @pytest.mark.parametrize("shares", [1, 262145])
    def test_shares_that_the_kernel_would_clamp(self, shares: int) -> None:
        refused({"cpu": {"shares": shares}}, "v1", "/cpu/shares")

    def test_before_the_join(self) -> None:
        cpu: Any = {"cpus": "0-1", "mems": "0", "realtimePeriod": 1000, "realtimeRuntime": 500, "shares": 2}
        assert [(action[1], *action[2].values()) for action in early({"cpu": cpu}, "v1", V1).actions] == [
            (BASE + "/cpu/cpus", "cpuset", "cpuset.cpus", "0-1"),
            (BASE + "/cpu/mems", "cpuset", "cpuset.mems", "0"),
            (BASE + "/cpu/realtimePeriod", "cpu", "cpu.rt_period_us", "1000", BASE + "/cpu/realtimePeriod"),
            (BASE + "/cpu/realtimeRuntime", "cpu", "cpu.rt_runtime_us", "500", True),
        ]
        assert pairs({"cpu": cpu}) == [("cpu.shares", "2")]
        assert early({"cpu": cpu}, "v2", V2).actions == []

    @pytest.mark.parametrize(("limit", "value"), [(0, "0"), (1, "1"), (-1, "max"), (-5, "max")])
    def test_pids(self, limit: int, value: str) -> None:
        for mode in ("v1", "v2"):
            assert pairs({"pids": {"limit": limit}}, mode) == [("pids.max", value)]

    def test_block_io(self) -> None:
        io = {
            "weight": 10,
            "leafWeight": 20,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}, {"major": 8, "minor": 1, "rate": 0}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 601}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 602}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 603}],
        }
        assert writes({"blockIO": io}) == [
            ("/blockIO/weight", "blkio.weight", "10", {"other_file": "blkio.bfq.weight"}),
            ("/blockIO/leafWeight", "blkio.leaf_weight", "20", {}),
            (
                "/blockIO/weightDevice/0/weight",
                "blkio.weight_device",
                "8:0 500",
                {"other_file": "blkio.bfq.weight_device"},
            ),
            ("/blockIO/weightDevice/0/leafWeight", "blkio.leaf_weight_device", "8:0 300", {}),
            ("/blockIO/throttleReadBpsDevice/0", "blkio.throttle.read_bps_device", "8:0 600", {}),
            ("/blockIO/throttleReadBpsDevice/1", "blkio.throttle.read_bps_device", "8:1 0", {}),
            ("/blockIO/throttleWriteBpsDevice/0", "blkio.throttle.write_bps_device", "8:0 601", {}),
            ("/blockIO/throttleReadIOPSDevice/0", "blkio.throttle.read_iops_device", "8:0 602", {}),
            ("/blockIO/throttleWriteIOPSDevice/0", "blkio.throttle.write_iops_device", "8:16 603", {}),
        ]

    def test_hugetlb(self) -> None:
        assert writes({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}) == [
            ("/hugepageLimits/0/limit", "hugetlb.2MB.limit_in_bytes", "0", {}),
            ("/hugepageLimits/0/limit", "hugetlb.2MB.rsvd.limit_in_bytes", "0", {"optional": True}),
        ]

    def test_page_size_is_part_of_a_file_name(self) -> None:
        limits = [{"pageSize": "../../x", "limit": 0}]
        assert refused_by_config({"hugepageLimits": limits}) == ["/hugepageLimits/0/pageSize"]

    def test_network(self) -> None:
        network = {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}, {"name": "lo", "priority": 0}]}
        assert pairs({"network": network}) == [
            ("net_cls.classid", "1048577"),
            ("net_prio.ifpriomap", "eth0 500"),
            ("net_prio.ifpriomap", "lo 0"),
        ]

    def test_rdma(self) -> None:
        devices = {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "a/b": {"hcaObjects": 0}}
        for mode in ("v1", "v2"):
            assert [one[:3] for one in writes({"rdma": devices}, mode)] == [
                ("/rdma/mlx5_1", "rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
                ("/rdma/a~1b", "rdma.max", "a/b hca_object=0"),
            ]
        assert refused_by_config({"rdma": {"mlx5_1": {}}}) == ["/rdma/mlx5_1"]

    def test_unified_needs_v2(self) -> None:
        refused({"unified": {"memory.high": "1"}}, "v1", "/unified/memory.high")

    @pytest.mark.parametrize(
        ("resources", "pointer"),
        [
            ({"memory": {"limit": 1}}, "/memory/limit"),
            ({"pids": {"limit": 1}}, "/pids/limit"),
            ({"cpu": {"shares": 2}}, "/cpu/shares"),
            ({"blockIO": {"weight": 10}}, "/blockIO/weight"),
            ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, "/hugepageLimits/0/limit"),
            ({"rdma": {"x": {"hcaObjects": 1}}}, "/rdma/x"),
        ],
    )
    def test_missing_controller(self, resources: Any, pointer: str) -> None:
        for mode in ("v1", "v2"):
            error = refused(resources, mode, pointer, ("cpuset",))
            assert "not available" in error.what

    def test_controllers_are_where_they_are_mounted(self) -> None:
        made = limits({"cpu": {"shares": 2}, "network": {"classID": 1}}, "v1", V1)
        assert [controller for controller, *_ in arguments(made)] == ["cpu", "net_cls"]
        assert made.unified == set()


class TestHybrid:
    CONTROLLERS = ("memory", "cpu", "unified:hugetlb")

    def test_a_controller_of_the_v2_side(self) -> None:
        made = limits({"hugepageLimits": [{"pageSize": "2MB", "limit": 7}]}, "hybrid", self.CONTROLLERS)
        assert [(controller, file) for controller, file, *_ in arguments(made)] == [
            ("", "hugetlb.2MB.max"),
            ("", "hugetlb.2MB.rsvd.max"),
        ]
        assert made.unified == {"hugetlb"}

    def test_unified_of_that_side(self) -> None:
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
        """Without the file the cgroup has no swap: fine for 0 and for no limit, not for a number."""
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

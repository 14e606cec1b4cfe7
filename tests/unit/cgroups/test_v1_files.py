"""linux.resources as writes to control files of v1: the table of docs/cgroups.md, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.cgroups.resources import early, limits
from tests.unit.cgroups.wanted import BASE, V1, V2, arguments, pairs, refused, refused_by_config, writes


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

    def test_limit_and_swap_fit_any_current_values(self) -> None:
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

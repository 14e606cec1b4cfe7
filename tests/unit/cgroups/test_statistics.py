"""Statistics of a container from sample files of v1 and v2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocipy.cgroups import statistics
from ocipy.cgroups.statistics import UNLIMITED, block_lines, members, number, numbers

NO_LIMIT_V1 = 9223372036854771712

V1: dict[str, dict[str, str]] = {
    "cpuacct": {
        "cpuacct.usage": "24084759\n",
        "cpuacct.usage_percpu": "19018165 5066594 \n",
        "cpuacct.usage_all": "cpu user system\n0 4000000 15624315\n1 0 7\n",
        "cpuacct.stat": "user 1\nsystem 2\n",
    },
    "cpu": {"cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 123456\n"},
    "cpuset": {
        "cpuset.cpus": "0-1,3\n",
        "cpuset.mems": "0\n",
        "cpuset.cpu_exclusive": "0\n",
        "cpuset.sched_load_balance": "1\n",
        "cpuset.sched_relax_domain_level": "-1\n",
    },
    "memory": {
        "memory.stat": "cache 20480\nrss 4096\nhierarchical_memory_limit 104857600\n",
        "memory.usage_in_bytes": "3264512\n",
        "memory.max_usage_in_bytes": "3300000\n",
        "memory.failcnt": "3\n",
        "memory.limit_in_bytes": "104857600\n",
        "memory.memsw.usage_in_bytes": "3264512\n",
        "memory.memsw.max_usage_in_bytes": "0\n",
        "memory.memsw.failcnt": "0\n",
        "memory.memsw.limit_in_bytes": f"{NO_LIMIT_V1}\n",
    },
    "pids": {"pids.current": "5\n", "pids.max": "max\n"},
    "blkio": {
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n",
        "blkio.throttle.io_serviced_recursive": "8:0 Read 1\nTotal 1\n",
    },
    "hugetlb": {
        "hugetlb.2MB.rsvd.usage_in_bytes": "2097152\n",
        "hugetlb.2MB.rsvd.max_usage_in_bytes": "4194304\n",
        "hugetlb.2MB.rsvd.failcnt": "1\n",
        "hugetlb.1GB.usage_in_bytes": "0\n",
        "hugetlb.1GB.max_usage_in_bytes": "0\n",
        "hugetlb.1GB.failcnt": "0\n",
    },
}

V2: dict[str, str] = {
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 7\nnr_throttled 0\nthrottled_usec 3\n",
    "cpu.pressure": "some avg10=0.00 avg60=1.50 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "memory.stat": "anon 4096\nfile 8192\n",
    "memory.current": "16384\n",
    "memory.max": "max\n",
    "memory.peak": "20000\n",
    "memory.swap.current": "100\n",
    "memory.swap.max": "max\n",
    "pids.current": "2\n",
    "pids.max": "10\n",
    "io.stat": "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n254:1 rbytes=1 wbytes=2 rios=3 wios=4\n",
    "hugetlb.2MB.rsvd.current": "0\n",
    "hugetlb.2MB.events": "max 4\n",
}


def v1(changes: dict[str, dict[str, str]] | None = None) -> Any:
    controllers = {**V1, **(changes or {})}
    return statistics.statistics_v1(lambda controller, file: controllers.get(controller, {}).get(file, ""), SIZES)


def v2(**changes: str) -> Any:
    contents = {**V2, **{name.replace("__", "."): text for name, text in changes.items()}}
    return statistics.statistics_v2(lambda controller, file: "" if controller else contents.get(file, ""), SIZES)


SIZES = ["1GB", "2MB"]


def test_v1() -> None:
    assert v1() == {
        "cpu": {
            "usage": {
                "total": 24084759,
                "percpu": [19018165, 5066594],
                "percpu_kernel": [15624315, 7],
                "percpu_user": [4000000, 0],
                "kernel": 20000000,
                "user": 10000000,
            },
            "throttling": {"periods": 5, "throttledPeriods": 2, "throttledTime": 123456},
        },
        "cpuset": {
            "cpus": [0, 1, 3],
            "mems": [0],
            "cpu_exclusive": 0,
            "mem_hardwall": 0,
            "mem_exclusive": 0,
            "memory_migrate": 0,
            "memory_spread_page": 0,
            "memory_spread_slab": 0,
            "memory_pressure": 0,
            "sched_load_balance": 1,
            "sched_relax_domain_level": -1,
        },
        "memory": {
            "cache": 20480,
            "usage": {"limit": 104857600, "usage": 3264512, "max": 3300000, "failcnt": 3},
            "swap": {"limit": NO_LIMIT_V1, "usage": 3264512, "failcnt": 0},
            "raw": {"cache": 20480, "rss": 4096, "hierarchical_memory_limit": 104857600},
        },
        "pids": {"current": 5},
        "blkio": {
            "ioServiceBytesRecursive": [
                {"major": 8, "op": "Read", "value": 4096},
                {"major": 8, "op": "Write"},
                {"major": 8, "op": "Total", "value": 4096},
            ],
            "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 1}],
        },
        "hugetlb": {"2MB": {"usage": 2097152, "max": 4194304, "failcnt": 1}, "1GB": {"failcnt": 0}},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def test_v2_in_the_shape_of_v1() -> None:
    found = v2()
    assert found["cpu"] == {
        "usage": {"total": 1500000, "kernel": 500000, "user": 1000000},
        "throttling": {"periods": 7, "throttledTime": 3000},
        "psi": {"some": {"avg10": 0.0, "avg60": 1.5, "avg300": 0.0, "total": 12}},
    }
    assert found["memory"] == {
        "cache": 8192,
        "usage": {"limit": UNLIMITED, "usage": 16384, "max": 20000, "failcnt": 0},
        "swap": {"limit": UNLIMITED, "usage": 16484, "failcnt": 0},
        "raw": {"anon": 4096, "file": 8192},
    }
    assert found["pids"] == {"current": 2, "limit": 10}
    assert found["blkio"] == {
        "ioServiceBytesRecursive": [
            {"major": 8, "op": "Read", "value": 4096},
            {"major": 8, "op": "Write"},
            {"major": 254, "minor": 1, "op": "Read", "value": 1},
            {"major": 254, "minor": 1, "op": "Write", "value": 2},
        ],
        "ioServicedRecursive": [
            {"major": 8, "op": "Read", "value": 1},
            {"major": 8, "op": "Write"},
            {"major": 254, "minor": 1, "op": "Read", "value": 3},
            {"major": 254, "minor": 1, "op": "Write", "value": 4},
        ],
    }
    assert found["hugetlb"] == {"2MB": {"failcnt": 4}}
    assert set(found["cpuset"].values()) == {0}


def test_swap_is_counted_with_the_memory() -> None:
    found = v2(memory__max="1000\n", memory__swap__max="500\n")["memory"]
    assert found["swap"] == {"limit": 1500, "usage": 16484, "failcnt": 0}
    assert "swap" not in v2(memory__swap__current="", memory__swap__max="")["memory"]


def test_unlimited_processes() -> None:
    assert v2(pids__max="max\n")["pids"] == {"current": 2}


def test_processes_are_counted_without_a_controller() -> None:
    assert v2(pids__current="", pids__max="", cgroup__procs="1\n2\n3\n")["pids"] == {"current": 3}


def every_number(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of everything except objects and arrays."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from every_number(member, f"{at}/{name}")
    elif isinstance(value, list):
        for item in value:
            yield from every_number(item, at)
    else:
        yield at, value


@pytest.mark.parametrize("found", [v1(), v2(), v2(memory__swap__max="18446744073709551615\n"), v1({"pids": {}})])
def test_a_decoder_of_unsigned_numbers_accepts_all(found: Any) -> None:
    """Engines can decode the numbers: a negative one, a fraction or "max" would fail the whole document."""
    for path, value in every_number(found):
        if path.endswith("/op") or path == "/network_interfaces" or "/psi/" in path:
            continue
        if path == "/cpuset/sched_relax_domain_level":
            assert type(value) is int
            continue
        assert type(value) is int, path
        assert 0 <= value <= UNLIMITED, path


def test_nothing_can_be_read() -> None:
    for collect in (statistics.statistics_v1, statistics.statistics_v2):
        found = collect(lambda controller, file: "", SIZES)
        assert found["cpu"] == found["memory"] == found["pids"] == found["blkio"] == found["hugetlb"] == {}


def test_block_io_is_counted_by_one_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty BFQ file does not count; if it has numbers, they replace the throttle's."""
    blkio = {"blkio.bfq.io_serviced_recursive": "", **V1["blkio"]}
    assert v1({"blkio": blkio})["blkio"]["ioServicedRecursive"] == [{"major": 8, "op": "Read", "value": 1}]
    blkio["blkio.bfq.io_serviced_recursive"] = "8:0 Read 9\n"
    blkio["blkio.bfq.sectors_recursive"] = "8:0 3\n"
    assert v1({"blkio": blkio})["blkio"] == {
        "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 9}],
        "sectorsRecursive": [{"major": 8, "value": 3}],
    }


@pytest.mark.parametrize(("text", "value"), [("", 0), ("5\n", 5), ("max\n", UNLIMITED), ("-1\n", -1), ("x", 0)])
def test_a_number(text: str, value: int) -> None:
    assert number(text) == value


def test_forms_of_files() -> None:
    assert numbers("a 1\nb x\n\nc 2 3\n") == {"a": 1}
    assert members("0-2,5\n") == [0, 1, 2, 5]
    assert members("\n") == []
    assert block_lines("Total 0\n") == []


@pytest.mark.parametrize(("kilobytes", "size"), [(64, "64KB"), (2048, "2MB"), (32768, "32MB"), (1048576, "1GB")])
def test_page_sizes(kilobytes: int, size: str) -> None:
    assert statistics.page_size(kilobytes) == size


def test_collect_reads_what_is_there(tmp_path: Path) -> None:
    for controller, contents in V1.items():
        (tmp_path / controller).mkdir()
        for name, text in contents.items():
            (tmp_path / controller / name).write_text(text)
    (tmp_path / "v2").mkdir()
    for name, text in V2.items():
        (tmp_path / "v2" / name).write_text(text)
    joined = {"cpu,cpuacct": str(tmp_path / "cpu"), "memory": str(tmp_path / "memory"), "": str(tmp_path / "v2")}
    found = statistics.collect(joined)
    assert found["cpu"]["throttling"] == {"periods": 5, "throttledPeriods": 2, "throttledTime": 123456}
    assert found["memory"] == v1()["memory"]
    assert found["pids"] == {}
    assert statistics.collect({"": str(tmp_path / "v2")})["memory"]["usage"]["limit"] == UNLIMITED

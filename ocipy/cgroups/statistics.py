"""A container's resource usage, from the files of its cgroup, in the form of runc's `events` (its types/events.go).

That is v1's form: v2's microseconds become nanoseconds, and its swap is added to the memory. Most zeros are left out,
as Go's omitempty does. No number is negative, fractional or "max", which Go's decoders refuse; UNLIMITED means no
limit. Exceptions, as in runc: the averages in `psi`, and cpuset.sched_relax_domain_level. What the kernel does not
report is left out. Cold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ocipy.cgroups import files
from ocipy.linux.text import lines_of, words_of

UNLIMITED = (1 << 64) - 1
# cpuacct.stat counts in USER_HZ, which is 100 on Linux.
NANOSECONDS_PER_TICK = 10**7
NANOSECONDS_PER_MICROSECOND = 1000

CPUSET_NUMBERS = (
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)
# The name in the result, and the name of v1's file after "blkio.".
BLOCK_IO = {
    "ioServiceBytesRecursive": "io_service_bytes",
    "ioServicedRecursive": "io_serviced",
    "ioQueueRecursive": "io_queued",
    "ioServiceTimeRecursive": "io_service_time",
    "ioWaitTimeRecursive": "io_wait_time",
    "ioMergedRecursive": "io_merged",
    "ioTimeRecursive": "time",
    "sectorsRecursive": "sectors",
}
# Which file has the counts depends on the I/O scheduler and the kernel. The first kind with any counts is used.
BLOCK_IO_COUNTERS = ("bfq.{}_recursive", "{}_recursive", "throttle.{}_recursive", "throttle.{}")
# Key in a line of io.stat: the name in the result, and the operation.
IO_STAT = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}
HUGE_PAGES = "/sys/kernel/mm/hugepages"

# Returns the content of a file of a cgroup, by v1 controller ("" for v2) and name; "" if it is missing.
Read = Callable[[str, str], str]


def collect(paths: Mapping[str, str]) -> dict[str, Any]:
    """Return a cgroup's statistics. paths: its directories by hierarchy, as in cgroup.Cgroup."""

    def read(controller: str, file: str) -> str:
        directory = files.path_of(paths, controller)
        if not directory:
            return ""
        try:
            return files.read(f"{directory}/{file}")
        except OSError:  # the kernel lacks this file, or the controller is not enabled
            return ""

    unified = set(paths) == {""}
    return (statistics_v2 if unified else statistics_v1)(read, page_sizes())


def page_sizes() -> list[str]:
    """Return the huge page sizes as they appear in the names of cgroup files: "2MB", "1GB"."""
    try:
        names = os.listdir(HUGE_PAGES)
    except OSError:
        return []
    return [page_size(int(name.removeprefix("hugepages-").removesuffix("kB"))) for name in sorted(names)]


def page_size(kilobytes: int) -> str:
    """Format a huge page size as the kernel does."""
    for shift, unit in ((20, "GB"), (10, "MB")):
        if kilobytes >= 1 << shift:
            return f"{kilobytes >> shift}{unit}"
    return f"{kilobytes}KB"


def statistics_v1(read: Read, huge_pages: list[str]) -> dict[str, Any]:
    """Return the statistics from v1's controllers."""
    return {
        "cpu": _nonzero({"usage": _cpu_usage_v1(read), "throttling": _throttling(numbers(read("cpu", "cpu.stat")), 1)}),
        "cpuset": _cpuset(read),
        "memory": _memory_v1(read),
        "pids": _pids(read, "pids"),
        "blkio": _block_io_v1(read),
        "hugetlb": _hugetlb_v1(read, huge_pages),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def statistics_v2(read: Read, huge_pages: list[str]) -> dict[str, Any]:
    """Return the statistics from a v2 cgroup."""
    cpu = numbers(read("", "cpu.stat"))
    usage = {
        "total": cpu.get("usage_usec", 0) * NANOSECONDS_PER_MICROSECOND,
        "kernel": cpu.get("system_usec", 0) * NANOSECONDS_PER_MICROSECOND,
        "user": cpu.get("user_usec", 0) * NANOSECONDS_PER_MICROSECOND,
    }
    return {
        "cpu": _nonzero(
            {
                "usage": _nonzero(usage, keep=("kernel", "user")) if any(usage.values()) else None,
                "throttling": _throttling(cpu, NANOSECONDS_PER_MICROSECOND),
            }
        )
        | _pressure(read, "cpu"),
        "cpuset": dict.fromkeys(CPUSET_NUMBERS, 0),
        "memory": _memory_v2(read) | _pressure(read, "memory"),
        "pids": _pids(read, "") or _nonzero({"current": len(lines_of(read("", "cgroup.procs")))}),
        "blkio": _block_io_v2(read) | _pressure(read, "io"),
        "hugetlb": _hugetlb_v2(read, huge_pages),
        "intel_rdt": {},
        "network_interfaces": None,
    }


# Parsers for the kernel's file formats


def numbers(text: str) -> dict[str, int]:
    """Parse lines with a name and a number; skip other lines."""
    found = {}
    for line in lines_of(text):
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] = int(value)
    return found


def number(text: str) -> int:
    """Parse a file with one number; "max" is UNLIMITED, and anything else 0."""
    text = text.strip()
    if text == "max":
        return UNLIMITED
    return int(text) if text.removeprefix("-").isdigit() else 0


def members(text: str) -> list[int]:
    """Parse a list of numbers such as 0-3,7 (cpuset(7))."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found += range(int(first), int(last or first) + 1)
    return found


def block_lines(text: str) -> list[dict[str, Any]]:
    """Parse blkio's lines such as "8:0 Read 4096" or "8:0 4096"; skip the line with the total."""
    found = []
    for line in lines_of(text):
        device, *operation, value = words_of(line)
        major, colon, minor = device.partition(":")
        if colon:
            entry = {"major": int(major), "minor": int(minor), "op": "".join(operation), "value": int(value)}
            found.append(_nonzero(entry))
    return found


def _nonzero(entry: dict[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Drop members that are 0 or empty (omitempty), except those in keep."""
    return {name: value for name, value in entry.items() if value or name in keep}


# The parts of the result


def _cpu_usage_v1(read: Read) -> dict[str, Any]:
    stat = numbers(read("cpuacct", "cpuacct.stat"))
    rows = [words_of(line) for line in lines_of(read("cpuacct", "cpuacct.usage_all"))[1:]]
    usage = {
        "total": number(read("cpuacct", "cpuacct.usage")),
        "percpu": [int(value) for value in words_of(read("cpuacct", "cpuacct.usage_percpu"))],
        "percpu_kernel": [int(row[2]) for row in rows],
        "percpu_user": [int(row[1]) for row in rows],
        "kernel": stat.get("system", 0) * NANOSECONDS_PER_TICK,
        "user": stat.get("user", 0) * NANOSECONDS_PER_TICK,
    }
    return _nonzero(usage, keep=("kernel", "user")) if any(usage.values()) else {}


def _throttling(stat: dict[str, int], scale: int) -> dict[str, int]:
    time = stat.get("throttled_time", 0) or stat.get("throttled_usec", 0)
    return _nonzero(
        {
            "periods": stat.get("nr_periods", 0),
            "throttledPeriods": stat.get("nr_throttled", 0),
            "throttledTime": time * scale,
        }
    )


def _cpuset(read: Read) -> dict[str, Any]:
    lists = {name: members(read("cpuset", "cpuset." + name)) for name in ("cpus", "mems")}
    return _nonzero(lists) | {name: number(read("cpuset", "cpuset." + name)) for name in CPUSET_NUMBERS}


def _memory_entry(limit: int, usage: int, most: int, failures: int) -> dict[str, int]:
    if not (limit or usage or most or failures):
        return {}
    return _nonzero({"limit": limit, "usage": usage, "max": most, "failcnt": failures}, keep=("limit", "failcnt"))


def _memory_v1(read: Read) -> dict[str, Any]:
    raw = numbers(read("memory", "memory.stat"))

    def entry(kind: str) -> dict[str, int]:
        names = ("limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt")
        return _memory_entry(*(number(read("memory", f"memory.{kind}{name}")) for name in names))

    return _nonzero(
        {
            "cache": raw.get("cache", 0),
            "usage": entry(""),
            "swap": entry("memsw."),
            "kernel": entry("kmem."),
            "kernelTCP": entry("kmem.tcp."),
            "raw": raw,
        }
    )


def _memory_v2(read: Read) -> dict[str, Any]:
    raw = numbers(read("", "memory.stat"))
    usage, limit = number(read("", "memory.current")), number(read("", "memory.max"))
    both: dict[str, int] = {}
    if read("", "memory.swap.current"):
        both_limit = min(number(read("", "memory.swap.max")) + limit, UNLIMITED)
        both = _memory_entry(both_limit, number(read("", "memory.swap.current")) + usage, 0, 0)
    return _nonzero(
        {
            "cache": raw.get("file", 0),
            "usage": _memory_entry(limit, usage, number(read("", "memory.peak")), 0),
            "swap": both,
            "raw": raw,
        }
    )


def _pids(read: Read, controller: str) -> dict[str, int]:
    limit = number(read(controller, "pids.max"))
    # If there is no limit, leave it out, as runc does.
    return _nonzero({"current": number(read(controller, "pids.current")), "limit": 0 if limit == UNLIMITED else limit})


def _block_io_v1(read: Read) -> dict[str, Any]:
    for counter in BLOCK_IO_COUNTERS:
        found = {
            name: block_lines(read("blkio", "blkio." + counter.format(file)))
            for name, file in BLOCK_IO.items()
            if "throttle" not in counter or file in ("io_service_bytes", "io_serviced")
        }
        if any(found.values()):
            return _nonzero(found)
    return {}


def _block_io_v2(read: Read) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines_of(read("", "io.stat")):
        device, *items = words_of(line)
        major, colon, minor = device.partition(":")
        for item in items if colon else ():
            key, _, value = item.partition("=")
            if key in IO_STAT:
                name, operation = IO_STAT[key]
                entry = {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}
                found.setdefault(name, []).append(_nonzero(entry))
    return found


def _hugetlb_v1(read: Read, sizes: list[str]) -> dict[str, Any]:
    found = {}
    for size in sizes:
        for kind in (size + ".rsvd", size):
            usage = read("hugetlb", f"hugetlb.{kind}.usage_in_bytes")
            if usage:
                most = number(read("hugetlb", f"hugetlb.{kind}.max_usage_in_bytes"))
                failures = number(read("hugetlb", f"hugetlb.{kind}.failcnt"))
                found[size] = _nonzero({"usage": number(usage), "max": most, "failcnt": failures}, keep=("failcnt",))
                break
    # On a hybrid host, the controller may be on v2.
    return found or _hugetlb_v2(read, sizes)


def _hugetlb_v2(read: Read, sizes: list[str]) -> dict[str, Any]:
    found = {}
    for size in sizes:
        usage = read("", f"hugetlb.{size}.rsvd.current") or read("", f"hugetlb.{size}.current")
        if usage:
            failures = numbers(read("", f"hugetlb.{size}.events")).get("max", 0)
            found[size] = _nonzero({"usage": number(usage), "failcnt": failures}, keep=("failcnt",))
    return found


def _pressure(read: Read, resource: str) -> dict[str, Any]:
    """Parse pressure stall information (Documentation/accounting/psi.rst); empty if it is disabled."""
    text = read("", resource + ".pressure")
    if not text:
        return {}
    found = {}
    for line in lines_of(text):
        kind, *items = words_of(line)
        values = dict(item.split("=", 1) for item in items)
        parsed = {name: float(values.get(name, 0)) for name in ("avg10", "avg60", "avg300")}
        found[kind] = {**parsed, "total": int(values.get("total", 0))}
    return {"psi": {kind: values for kind, values in found.items() if any(values.values())}}

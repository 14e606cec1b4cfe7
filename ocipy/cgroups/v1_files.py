"""resources on cgroup v1: what to write to which file (Documentation/admin-guide/cgroup-v1/).

0, false and "" mean "not set", because engines send them for unset fields. -1 means "no limit" where the specification
says so. Each function adds the writes for one part of resources, and raises Error with the field's pointer for an
impossible value.
"""

from __future__ import annotations

from ocipy.errors import Error, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocipy.cgroups.writes import WriteOptions, Writes
    from ocipy.config.types import CPU, BlockIO, HugepageLimit, Memory, Network, Pids, Rdma

# kernel/sched/sched.h: MIN_SHARES and MAX_SHARES. The kernel silently clamps other values.
MIN_SHARES = 2
MAX_SHARES = 1 << 18
# swappiness is unsigned in the specification, so -1 ("not set") arrives as this number.
UNSET_SWAPPINESS = (1 << 64) - 1


def nothing(writes: Writes, part: object) -> None:
    """Add nothing: another function or hierarchy handles the part."""


def cpuset(writes: Writes, cpu: CPU) -> None:
    """The fields cpus and mems."""
    for field in ("cpus", "mems"):
        value = cpu.get(field)
        if value:
            writes.add(field, "cpuset", "cpuset." + field, value)


def realtime(writes: Writes, cpu: CPU) -> None:
    """The fields realtimePeriod and realtimeRuntime. The kernel refuses a value that conflicts with the other one."""
    period, runtime = cpu.get("realtimePeriod"), cpu.get("realtimeRuntime")
    if period:
        defer = writes.base + "/realtimePeriod" if runtime else ""
        writes.add("realtimePeriod", "cpu", "cpu.rt_period_us", period, **deferred(defer))
    if runtime:
        writes.add("realtimeRuntime", "cpu", "cpu.rt_runtime_us", runtime, resume=True)


def deferred(pointer: str) -> WriteOptions:
    """Return the option `defer` for a write that may conflict with a later one; no option if the pointer is ""."""
    return {"defer": pointer} if pointer else {}


def cpu(writes: Writes, cpu: CPU) -> None:
    """The fields shares, quota, period, burst and idle."""
    shares, idle = cpu.get("shares"), cpu.get("idle")
    if shares:
        if not MIN_SHARES <= shares <= MAX_SHARES:
            raise Error(
                f"{shares} CPU shares cannot be set: the kernel accepts {MIN_SHARES} to {MAX_SHARES}",
                pointer=writes.base + "/shares",
            )
        # Refused while the cgroup is idle, so deferred if idle changes too.
        writes.add(
            "shares", "cpu", "cpu.shares", shares, **deferred(writes.base + "/shares" if idle is not None else "")
        )
    quota, period, burst = cpu.get("quota"), cpu.get("period"), cpu.get("burst")
    if burst is not None:
        options: WriteOptions = {"optional": not burst, **deferred(writes.base + "/burst" if quota else "")}
        writes.add("burst", "cpu", "cpu.cfs_burst_us", burst, **options)
    if period:
        writes.add("period", "cpu", "cpu.cfs_period_us", period, **deferred(writes.base + "/period" if quota else ""))
    if quota:
        writes.add("quota", "cpu", "cpu.cfs_quota_us", quota, resume=True)
    if idle is not None:
        writes.add("idle", "cpu", "cpu.idle", idle, optional=not idle, resume=True)


def memory(writes: Writes, memory: Memory) -> None:
    """All fields of memory. limit must never exceed swap, so the current values decide which is written first."""
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        defer = deferred(writes.base + "/limit" if swap or limit == -1 else "")
        writes.add("limit", "memory", "memory.limit_in_bytes", limit, **defer)
    if swap:
        writes.add("swap", "memory", "memory.memsw.limit_in_bytes", swap, resume=True)
    elif limit == -1:
        # Removing the memory limit also removes the limit on memory and swap. Without swap accounting there is no file.
        writes.add("limit", "memory", "memory.memsw.limit_in_bytes", -1, optional=True, resume=True)
    for field, file in (
        ("reservation", "memory.soft_limit_in_bytes"),
        ("kernel", "memory.kmem.limit_in_bytes"),
        ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
    ):
        value = memory.get(field)
        if value:
            options: WriteOptions = {}
            if value == -1:
                # If the kernel has no such file, there is no limit to remove.
                options["optional"] = True
            elif field == "kernel":
                # Since Linux 5.16 the kernel refuses a limit, or accepts and ignores it.
                options["verify"] = True
            writes.add(field, "memory", file, value, **options)
    if memory.get("useHierarchy"):
        writes.add("useHierarchy", "memory", "memory.use_hierarchy", 1)
    swappiness = memory.get("swappiness")
    if swappiness is not None and swappiness != UNSET_SWAPPINESS:
        writes.add("swappiness", "memory", "memory.swappiness", swappiness)
    if memory.get("disableOOMKiller"):
        writes.add("disableOOMKiller", "memory", "memory.oom_control", 1)


def pids(writes: Writes, pids: Pids) -> None:
    """The field limit. 0 is a limit; a negative value means no limit."""
    limit = pids.get("limit")
    if limit is not None:
        writes.add("limit", "pids", "pids.max", limit if limit >= 0 else "max")


def block_io(writes: Writes, io: BlockIO) -> None:
    """All fields of blockIO: weights (CFQ's, or else BFQ's) and throttles."""
    fields: Any = io
    if io.get("weight"):
        writes.add("weight", "blkio", "blkio.weight", io["weight"], other_file="blkio.bfq.weight")
    if io.get("leafWeight"):
        writes.add("leafWeight", "blkio", "blkio.leaf_weight", io["leafWeight"])
    for index, entry in enumerate(io.get("weightDevice") or ()):
        device = f"{entry['major']}:{entry['minor']}"
        weights = writes.below(f"weightDevice/{index}")
        if entry.get("weight"):
            value = f"{device} {entry['weight']}"
            weights.add("weight", "blkio", "blkio.weight_device", value, other_file="blkio.bfq.weight_device")
        if entry.get("leafWeight"):
            weights.add("leafWeight", "blkio", "blkio.leaf_weight_device", f"{device} {entry['leafWeight']}")
    for field, file in (
        ("throttleReadBpsDevice", "read_bps_device"),
        ("throttleWriteBpsDevice", "write_bps_device"),
        ("throttleReadIOPSDevice", "read_iops_device"),
        ("throttleWriteIOPSDevice", "write_iops_device"),
    ):
        for index, throttle in enumerate(fields.get(field) or ()):
            value = f"{throttle['major']}:{throttle['minor']} {throttle['rate']}"
            writes.add(f"{field}/{index}", "blkio", "blkio.throttle." + file, value)


def hugetlb(writes: Writes, limits: Sequence[HugepageLimit]) -> None:
    """Limit page faults, and since Linux 5.7 also reservations."""
    for index, entry in enumerate(limits):
        size = entry["pageSize"]
        writes.add(f"{index}/limit", "hugetlb", f"hugetlb.{size}.limit_in_bytes", entry["limit"])
        writes.add(f"{index}/limit", "hugetlb", f"hugetlb.{size}.rsvd.limit_in_bytes", entry["limit"], optional=True)


def net_cls(writes: Writes, network: Network) -> None:
    """The field classID."""
    if network.get("classID"):
        writes.add("classID", "net_cls", "net_cls.classid", network["classID"])


def net_prio(writes: Writes, network: Network) -> None:
    """The field priorities, one per write. The kernel looks up the interfaces in the runtime's network namespace."""
    for index, entry in enumerate(network.get("priorities") or ()):
        value = f"{entry['name']} {entry['priority']}"
        writes.add(f"priorities/{index}", "net_prio", "net_prio.ifpriomap", value)


def rdma(writes: Writes, devices: dict[str, Rdma]) -> None:
    """All of rdma, on v1."""
    write_rdma(writes, devices, "rdma")


def write_rdma(writes: Writes, devices: dict[str, Rdma], controller: str) -> None:
    """All of rdma: one line per device, the same on v1 and v2."""
    for name, limits in devices.items():
        parts = [name]
        if limits.get("hcaHandles") is not None:
            parts.append(f"hca_handle={limits['hcaHandles']}")
        if limits.get("hcaObjects") is not None:
            parts.append(f"hca_object={limits['hcaObjects']}")
        pointer = writes.base + escape(name)
        writes.add_at(pointer, controller, "rdma.max", " ".join(parts))

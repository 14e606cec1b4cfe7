"""resources on cgroup v2: what to write to which file (Documentation/admin-guide/cgroup-v2.rst).

The fields are v1's, so values are converted. A field without an equivalent raises Error with its pointer, unless it
asks for nothing: 0, false, "", or -1 for "no limit".
"""

from __future__ import annotations

from ocipy.cgroups.v1_files import UNSET_SWAPPINESS, deferred, write_rdma
from ocipy.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocipy.cgroups.writes import WriteOptions, Writes
    from ocipy.config.types import CPU, BlockIO, HugepageLimit, Memory, Network, Pids, Rdma

DEFAULT_PERIOD = 100_000


def nothing(writes: Writes, part: object) -> None:
    """Add nothing: another function or hierarchy handles the part."""


def _refuse(writes: Writes, field: str, text: str) -> Error:
    return Error(text + " has no equivalent on cgroup v2", pointer=writes.base + "/" + field)


def weight_of_shares(shares: int) -> int:
    """Convert cpu.shares (2 to 262144) to cpu.weight (1 to 10000), so that 2, 1024, 262144 become 1, 100, 10000.

    The formula is a quadratic in logarithms through these three points, as in runc 1.3.2 and crun 1.23.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = _log2(shares)
    weight = 10.0 ** ((log * log + 125 * log) / 612 - 7 / 34)
    whole = int(weight)
    return whole + 1 if weight > whole else whole


def _log2(number: int) -> float:
    """Return the binary logarithm of a positive number. The module math is not built into every Python."""
    whole = number.bit_length() - 1
    rest = number / (1 << whole)
    result = float(whole)
    bit = 0.5
    while bit > 1e-16 and rest != 1.0:
        rest *= rest
        if rest >= 2.0:
            rest /= 2.0
            result += bit
        bit /= 2
    return result


def weight_of_blkio(weight: int) -> int:
    """Convert blkio.weight (10 to 1000) linearly to io.weight (1 to 10000)."""
    return 1 + (weight - 10) * 9999 // 990


def _limit(value: int) -> str:
    return "max" if value < 0 else str(value)


def cpuset(writes: Writes, cpu: CPU) -> None:
    """The fields cpus and mems."""
    for field in ("cpus", "mems"):
        value = cpu.get(field)
        if value:
            writes.add(field, "", "cpuset." + field, value)


def cpu(writes: Writes, cpu: CPU) -> None:
    """The fields shares, idle, burst, quota and period."""
    for field in ("realtimeRuntime", "realtimePeriod"):
        if cpu.get(field):
            raise _refuse(writes, field, "a realtime scheduling budget")
    shares, idle = cpu.get("shares"), cpu.get("idle")
    if shares:
        # An idle cgroup's weight cannot be set, so if both change, the current value of idle decides the order.
        options = deferred(writes.base + "/shares" if idle is not None else "")
        writes.add("shares", "", "cpu.weight", weight_of_shares(shares), **options)
    if idle is not None:
        writes.add("idle", "", "cpu.idle", idle, optional=not idle, resume=True)
    quota, period, burst = cpu.get("quota") or 0, cpu.get("period") or 0, cpu.get("burst")
    has_max = bool(quota or period)
    if burst is not None:
        more: WriteOptions = {"optional": not burst, **deferred(writes.base + "/burst" if has_max else "")}
        writes.add("burst", "", "cpu.max.burst", burst, **more)
    if has_max:
        value = f"{quota if quota > 0 else 'max'} {period or DEFAULT_PERIOD}"
        writes.add("quota" if quota else "period", "", "cpu.max", value, resume=True)


def memory(writes: Writes, memory: Memory) -> None:
    """The fields limit, swap and reservation. In the config, swap includes memory; in the file, it is swap alone."""
    for field in ("kernel", "kernelTCP"):
        if (memory.get(field) or -1) != -1:
            raise _refuse(writes, field, "a separate limit on kernel memory")
    if (memory.get("swappiness") or UNSET_SWAPPINESS) != UNSET_SWAPPINESS:
        raise _refuse(writes, "swappiness", "the swappiness of a cgroup")
    if memory.get("disableOOMKiller"):
        raise _refuse(writes, "disableOOMKiller", "disabling the OOM killer")
    limit, swap, reservation = memory.get("limit") or 0, memory.get("swap") or 0, memory.get("reservation") or 0
    if memory.get("checkBeforeUpdate") and (limit > 0 or swap > 0):
        writes.check("checkBeforeUpdate", limit=max(limit, 0), swap=max(swap, 0))
    if swap > 0:
        if limit <= 0:
            raise Error("on cgroup v2 a limit on memory and swap needs a memory limit", pointer=writes.base + "/swap")
        # Without swap accounting there is no file. A limit of 0 needs none then.
        optional: WriteOptions = {"optional": True} if swap == limit else {}
        writes.add("swap", "", "memory.swap.max", swap - limit, **optional)
    elif swap < 0:
        writes.add("swap", "", "memory.swap.max", "max", optional=True)
    elif limit < 0:
        writes.add("limit", "", "memory.swap.max", "max", optional=True)
    if limit:
        writes.add("limit", "", "memory.max", _limit(limit))
    if reservation:
        writes.add("reservation", "", "memory.low", _limit(reservation))


def pids(writes: Writes, pids: Pids) -> None:
    """The field limit. 0 is a limit; a negative value means no limit."""
    limit = pids.get("limit")
    if limit is not None:
        writes.add("limit", "", "pids.max", _limit(limit))


def block_io(writes: Writes, io: BlockIO) -> None:
    """All fields of blockIO. Weights: BFQ's, in v1's numbers, or else io.weight. Throttles: io.max, one by one."""
    fields: Any = io
    if io.get("leafWeight"):
        raise _refuse(writes, "leafWeight", "a leaf weight")
    if io.get("weight"):
        weight = io["weight"]
        other = str(weight_of_blkio(weight))
        writes.add("weight", "", "io.bfq.weight", weight, other_file="io.weight", other_value=other)
    for index, entry in enumerate(io.get("weightDevice") or ()):
        weights = writes.below(f"weightDevice/{index}")
        device = f"{entry['major']}:{entry['minor']}"
        if entry.get("leafWeight"):
            raise _refuse(weights, "leafWeight", "a leaf weight")
        if entry.get("weight"):
            other = f"{device} {weight_of_blkio(entry['weight'])}"
            value = f"{device} {entry['weight']}"
            weights.add("weight", "", "io.bfq.weight", value, other_file="io.weight", other_value=other)
    for field, key in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        for index, throttle in enumerate(fields.get(field) or ()):
            # v1 removes a limit with 0, v2 with "max".
            rate = throttle["rate"] or "max"
            writes.add(f"{field}/{index}", "", "io.max", f"{throttle['major']}:{throttle['minor']} {key}={rate}")


def hugetlb(writes: Writes, limits: Sequence[HugepageLimit]) -> None:
    """Limit page faults, and also reservations if the kernel can."""
    for index, entry in enumerate(limits):
        size = entry["pageSize"]
        writes.add(f"{index}/limit", "", f"hugetlb.{size}.max", entry["limit"])
        writes.add(f"{index}/limit", "", f"hugetlb.{size}.rsvd.max", entry["limit"], optional=True)


def net_cls(writes: Writes, network: Network) -> None:
    """Refuse the field classID."""
    if network.get("classID"):
        raise _refuse(writes, "classID", "a network packet class")


def net_prio(writes: Writes, network: Network) -> None:
    """Refuse the field priorities."""
    if network.get("priorities"):
        raise _refuse(writes, "priorities/0", "a network packet priority")


def rdma(writes: Writes, devices: dict[str, Rdma]) -> None:
    """All of rdma, on v2."""
    write_rdma(writes, devices, "")

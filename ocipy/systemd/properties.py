"""linux.resources as properties of a systemd unit (systemd.resource-control(5), org.freedesktop.systemd1(5)). Pure.

systemd may rewrite a unit's control files at any time: at a daemon-reload, or when a neighbour changes. So it must know
every value that it has a property for. All values are also written to the files, as without systemd. Since the unit is
delegated, systemd leaves alone what it has no property for (throttled devices, hugetlb, rdma, …).
"""

from __future__ import annotations

from ocipy.cgroups.devices import ANY, fold, line
from ocipy.cgroups.v2_files import DEFAULT_PERIOD, weight_of_blkio, weight_of_shares
from ocipy.errors import Error, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocipy.cgroups.devices import Rule
    from ocipy.config.types import CPU, Memory, Resources

    # Name, D-Bus signature, value, and the first version of systemd that has the property (0: every supported one).
    Property = tuple[str, str, Any, int]

INFINITY = (1 << 64) - 1
# systemd stores a quota as a whole percentage of one CPU.
QUOTA_STEP = 10_000
CPU_IDLE, ALLOWED_CPUS, QUOTA_PERIOD, OOM_POLICY = 252, 244, 242, 253


def for_resources(resources: Resources, mode: str) -> tuple[Property, ...]:
    """Return the properties for all but the devices. mode: as in plan.model.Host. Raises Error with a pointer.

    cpu.quota without a period refers to the default period, as in systemd.
    """
    v2 = mode == "v2"
    found = _memory(resources.get("memory") or {}, v2) + _cpu(resources.get("cpu") or {}, v2)
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        found.append(("TasksMax", "t", _tasks(limit), 0))
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight:
        found.append(("IOWeight", "t", weight_of_blkio(weight), 0) if v2 else ("BlockIOWeight", "t", weight, 0))
    if v2:
        found += _unified(resources.get("unified") or {})
    return tuple(found)


def rounded(resources: Resources) -> Resources:
    """Return the resources with CPU quota and pids limit as systemd stores them, so that it writes what we write."""
    cpu, pids = resources.get("cpu") or {}, resources.get("pids") or {}
    quota = cpu.get("quota") or 0
    if quota > 0:
        period = cpu.get("period") or DEFAULT_PERIOD
        resources = resources.copy()
        resources["cpu"] = cpu.copy()
        resources["cpu"]["quota"] = _divide_up(_per_second(quota, period) * period, 1_000_000)
    if pids.get("limit") == 0:
        resources = resources.copy()
        resources["pids"] = {"limit": _tasks(0)}
    return resources


def _per_second(quota: int, period: int) -> int:
    """Return a quota as microseconds of CPU time per second, rounded up to what systemd can store."""
    if quota <= 0:
        return INFINITY
    return _divide_up(quota * 1_000_000 // period, QUOTA_STEP) * QUOTA_STEP


def _divide_up(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _tasks(limit: int) -> int:
    """Convert pids.limit. systemd has no limit of 0, but 1 is equivalent: the container's first process counts."""
    return INFINITY if limit < 0 else max(limit, 1)


def _bytes(limit: int) -> int:
    return INFINITY if limit < 0 else limit


def _memory(memory: Memory, v2: bool) -> list[Property]:
    limit, swap, reservation = memory.get("limit") or 0, memory.get("swap") or 0, memory.get("reservation") or 0
    found: list[Property] = []
    if limit:
        found.append(("MemoryMax" if v2 else "MemoryLimit", "t", _bytes(limit), 0))
    if not v2:
        return found
    if reservation:
        found.append(("MemoryLow", "t", _bytes(reservation), 0))
    if swap < 0 or (limit < 0 and not swap):
        found.append(("MemorySwapMax", "t", INFINITY, 0))
    elif swap > 0:
        # MemorySwapMax is for swap alone: v2_files.memory.
        found.append(("MemorySwapMax", "t", max(swap - limit, 0), 0))
    return found


def _cpu(cpu: CPU, v2: bool) -> list[Property]:
    found: list[Property] = []
    shares = cpu.get("shares") or 0
    if v2 and cpu.get("idle") == 1:
        # In systemd, a weight of 0 means idle. With older versions only the file is written.
        found.append(("CPUWeight", "t", 0, CPU_IDLE))
    elif shares:
        found.append(("CPUWeight", "t", weight_of_shares(shares), 0) if v2 else ("CPUShares", "t", shares, 0))
    elif v2 and cpu.get("idle") == 0:
        # An unset weight also ends the idle state.
        found.append(("CPUWeight", "t", INFINITY, 0))
    found += _quota(cpu.get("quota") or 0, cpu.get("period") or 0)
    for field, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        value = cpu.get(field)
        if isinstance(value, str) and value:
            found.append((name, "ay", _bits(value, f"/linux/resources/cpu/{field}"), ALLOWED_CPUS))
    return found


def _quota(quota: int, period: int) -> list[Property]:
    found: list[Property] = []
    if period:
        found.append(("CPUQuotaPeriodUSec", "t", period, QUOTA_PERIOD))
    if quota or period:
        found.append(("CPUQuotaPerSecUSec", "t", _per_second(quota, period or DEFAULT_PERIOD), 0))
    return found


def _bits(text: str, pointer: str) -> tuple[int, ...]:
    """Convert a list such as "0-2,7" to the bytes of a bit mask, lowest byte first. Raises Error."""
    mask = 0
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            raise Error(f"{part.strip()!r} is neither a number nor a range", pointer=pointer) from None
        if not 0 <= low <= high < 1 << 16:
            raise Error(f"{part.strip()!r} is not a range", pointer=pointer)
        mask |= (1 << high + 1) - (1 << low)
    return tuple(mask.to_bytes((mask.bit_length() + 7) // 8, "little"))


AMOUNTS = {
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.max": "MemoryMax",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}
SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}


def _unified(unified: dict[str, str]) -> list[Property]:
    """Convert the files in linux.resources.unified that systemd has properties for. They override earlier ones."""
    found: list[Property] = []
    for file, text in unified.items():
        pointer = "/linux/resources/unified" + escape(file)
        value = text.strip()
        if file in AMOUNTS:
            amount = INFINITY if value == "max" else _amount(value, pointer)
            found.append((AMOUNTS[file], "t", max(amount, 1) if file == "pids.max" else amount, 0))
        elif file in SETS:
            if value:
                found.append((SETS[file], "ay", _bits(value, pointer), ALLOWED_CPUS))
        elif file == "cpu.weight" and unified.get("cpu.idle", "").strip() != "1":
            found.append(("CPUWeight", "t", _amount(value, pointer), 0))
        elif file == "cpu.idle" and value == "1":
            found.append(("CPUWeight", "t", 0, CPU_IDLE))
        elif file == "cpu.max":
            quota, _, period = value.partition(" ")
            found += _quota(
                0 if quota == "max" else _amount(quota, pointer),
                _amount(period.strip(), pointer) if period.strip() else DEFAULT_PERIOD,
            )
    return found


def _amount(text: str, pointer: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > INFINITY:
        raise Error(f"{text!r} is not a number", pointer=pointer)
    return int(text)


def oom_policy(resources: Resources, mode: str) -> tuple[Property, ...]:
    """Return the property for memory.oom.group, which systemd accepts only when it makes the unit."""
    value = (resources.get("unified") or {}).get("memory.oom.group", "").strip() if mode == "v2" else ""
    policy = {"0": "continue", "1": "kill"}.get(value)
    return (("OOMPolicy", "s", policy, OOM_POLICY),) if policy else ()


def for_devices(rules: Sequence[Rule], mode: str) -> tuple[Property, ...]:
    """Return the properties for the device rules: otherwise systemd would undo ours when it rewrites the unit's files.

    systemd's list cannot have exceptions to what it allows. If the rules need some, on v2, systemd gets no list: our
    own program stays attached, and all attached programs must permit an access. Raises Error on v1 for such rules.
    """
    nothing: Property = ("DeviceAllow", "a(ss)", (), 0)
    no_list = (nothing, ("DevicePolicy", "s", "auto", 0))
    try:
        folded = fold(rules)
    except Error:
        if mode != "v2":
            raise
        return no_list
    if folded.allow:
        return no_list
    allowed = []
    for key, bits in folded.merged().items():
        kind, major, minor = key
        group = "char" if kind == "c" else "block"
        if minor == ANY:
            device = f"{group}-{'*' if major == ANY else major}"
        elif major != ANY:
            device = f"/dev/{group}/{major}:{minor}"
        elif mode == "v2":
            return no_list
        else:
            # systemd has no form for this rule: on v1, a daemon-reload removes it.
            continue
        allowed.append((device, line(key, bits).rpartition(" ")[2]))
    return (nothing, ("DevicePolicy", "s", "strict", 0), ("DeviceAllow", "a(ss)", tuple(allowed), 0))

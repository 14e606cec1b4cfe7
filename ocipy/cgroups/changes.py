"""A change of linux.resources: the resulting limits, and the part of them that must be written. Pure.

As in a config, 0, false, "" and null mean "not set", so they change nothing. ZEROS lists members for which 0 is a
value.
"""

from __future__ import annotations

from ocipy.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ocipy.config.types import Resources

# Device rules are not limits, and unknown members are ignored (config.md, Extensibility).
PARTS = ("blockIO", "cpu", "hugepageLimits", "memory", "network", "pids", "rdma", "unified")
ZEROS = (("cpu", "burst"), ("cpu", "idle"), ("memory", "swappiness"), ("pids", "limit"))
# For each list, the members that identify an entry.
KEYS = {
    "hugepageLimits": ("pageSize",),
    "priorities": ("name",),
    "throttleReadBpsDevice": ("major", "minor"),
    "throttleReadIOPSDevice": ("major", "minor"),
    "throttleWriteBpsDevice": ("major", "minor"),
    "throttleWriteIOPSDevice": ("major", "minor"),
    "weightDevice": ("major", "minor"),
}
# Members that the kernel treats as one setting, or that it only accepts together.
TOGETHER = {
    "cpu": (("period", "quota", "burst"), ("realtimePeriod", "realtimeRuntime")),
    "memory": (("limit", "swap"),),
}


def given(change: Resources) -> dict[str, Any]:
    """Return the part of a change that is set."""
    found: dict[str, Any] = {}
    parts: Mapping[str, Any] = change
    for name in PARTS:
        part = parts.get(name)
        if isinstance(part, dict) and name not in ("unified", "rdma"):
            part = {member: value for member, value in part.items() if _is_set(name, member, value)}
        if part:
            found[name] = part
    return found


def _is_set(name: str, member: str, value: object) -> bool:
    return bool(value) or (value is not None and (name, member) in ZEROS)


def merged(old: Resources, change: Resources) -> Resources:
    """Return the limits after the change. Neither argument is modified."""
    result: dict[str, Any] = {**old}
    for name, part in given(change).items():
        before = result.get(name)
        if name in KEYS:
            result[name] = _merged_list(before or [], part, KEYS[name])
        elif name == "rdma":
            result[name] = {**(before or {})}
            for device, rdma in part.items():
                result[name][device] = {**(result[name].get(device) or {}), **(rdma or {})}
        else:
            result[name] = _merged_members(before or {}, part)
    memory = change.get("memory") or {}
    if memory.get("limit") == -1 and not memory.get("swap"):
        # Removing the memory limit also removes the limit on memory and swap (docs/cgroups.md).
        result["memory"].pop("swap", None)
    return result  # type: ignore[return-value]


def _merged_members(before: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    result = {**before, **part}
    for member, keys in KEYS.items():
        if member in part:
            result[member] = _merged_list(before.get(member) or [], part[member], keys)
    # checkBeforeUpdate concerns this change only, as in runc.
    if "checkBeforeUpdate" in part:
        del result["checkBeforeUpdate"]
    return result


def _merged_list(before: list[Any], change: list[Any], keys: tuple[str, ...]) -> list[Any]:
    result = list(before)
    for entry in change:
        for index, other in enumerate(result):
            if all(other.get(key) == entry.get(key) for key in keys):
                result[index] = {**other, **entry}
                break
        else:
            result.append(entry)
    return result


def affected(new: Resources, change: Resources) -> Resources:
    """Return the part of the result that must be written: the change, and what forms one setting with it (TOGETHER).

    Nothing else is written, because somebody may have changed it in the cgroup. Raises Error for a change that could
    have no effect.
    """
    wanted = given(change)
    after: Mapping[str, Any] = new
    for name, part in wanted.items():
        for group in TOGETHER.get(name, ()):
            if any(member in part for member in group):
                part.update((member, after[name][member]) for member in group if after[name].get(member) is not None)
    cpu = wanted.get("cpu", {})
    if cpu.get("idle") == 0 and after["cpu"].get("shares"):
        # The kernel forgets the shares while the cgroup is idle.
        cpu["shares"] = after["cpu"]["shares"]
    if "shares" in cpu and "idle" not in cpu and after["cpu"].get("idle"):
        raise Error(
            "an idle container has no CPU shares",
            pointer="/linux/resources/cpu/shares",
            hint="also set cpu.idle (--cpu-idle) to 0",
        )
    return wanted  # type: ignore[return-value]

"""linux.timeOffsets and linux.netDevices: what the host puts into namespaces that init made, one step each."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan


def plan_time_offsets(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """linux.timeOffsets: set after the time namespace is made, before a process is in it (time_namespaces(7))."""
    offsets = (config.get("linux") or {}).get("timeOffsets") or {}
    given = []
    for clock in ("monotonic", "boottime"):
        offset = offsets.get(clock)
        if offset:
            given.append((clock, offset.get("secs") or 0, offset.get("nanosecs") or 0))
    if given:
        plan.on_host("time_offsets", "/linux/timeOffsets", offsets=tuple(given))


def plan_net_devices(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """linux.netDevices: moved into the container's network namespace before the hooks, which may configure them."""
    devices = (config.get("linux") or {}).get("netDevices") or {}
    if devices:
        moved = tuple((name, (device or {}).get("name") or name) for name, device in devices.items())
        plan.on_host("net_devices", "/linux/netDevices", devices=moved)

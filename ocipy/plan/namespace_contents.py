"""linux.timeOffsets and linux.netDevices: what the host puts into namespaces that init made, one step each."""

from __future__ import annotations

from ocipy.plan.model import HostStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner


class TimeOffsets(HostStep):
    """Write /proc/PID/timens_offsets. offsets: (clock, seconds, nanoseconds)."""

    offsets: tuple[tuple[str, int, int], ...]

    def describe(self) -> str:
        return ", ".join(f"{clock} {seconds:+}.{nano:09} s" for clock, seconds, nano in self.offsets)


class NetDevices(HostStep):
    """Move network devices into the container. devices: (name here, name there)."""

    devices: tuple[tuple[str, str], ...]

    def describe(self) -> str:
        return ", ".join(here if here == there else f"{here} → {there}" for here, there in self.devices)


def plan_time_offsets(planner: Planner) -> None:
    """linux.timeOffsets: set after the time namespace is made, before a process is in it (time_namespaces(7))."""
    offsets = (planner.config.get("linux") or {}).get("timeOffsets") or {}
    given = []
    for clock in ("monotonic", "boottime"):
        offset = offsets.get(clock)
        if offset:
            given.append((clock, offset.get("secs") or 0, offset.get("nanosecs") or 0))
    if given:
        planner.on_host(TimeOffsets("/linux/timeOffsets", offsets=tuple(given)))


def plan_net_devices(planner: Planner) -> None:
    """linux.netDevices: moved into the container's network namespace before the hooks, which may configure them."""
    devices = (planner.config.get("linux") or {}).get("netDevices") or {}
    if devices:
        moved = tuple((name, (device or {}).get("name") or name) for name, device in devices.items())
        planner.on_host(NetDevices("/linux/netDevices", devices=moved))

"""What a box uses and what it was denied, from the files of its cgroup (v1, hybrid and v2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# The directories of a box's cgroup by v1 hierarchy, "" for v2, as Container.cgroup() returns them.
Paths = Mapping[str, str]
Usage = dict[str, int | None]


def place_of(paths: Paths, controller: str) -> tuple[Path, bool]:
    """(the directory of a controller's files, whether they are v1's); a missing one if the box lacks it. Pure."""
    for name, path in paths.items():
        if controller in name.split(","):
            return Path(path), True
    return Path(paths.get("", "/none")), False


def numbers(path: Path) -> dict[str, int]:
    """The numbers in a file of lines "NAME NUMBER", by name; {} if the file cannot be read."""
    try:
        return numbers_in(path.read_bytes())
    except OSError:
        return {}


def numbers_in(data: bytes) -> dict[str, int]:
    """The numbers in lines "NAME NUMBER", by name; other lines are left out. Pure."""
    pairs = (line.split(b" ") for line in data.split(b"\n"))
    return {pair[0].decode("ascii", "replace"): int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def memory_events(paths: Paths) -> dict[str, int]:
    """The counts in memory.events, or in v1's memory.oom_control: oom_kill, and on v2 oom. {} if they are gone."""
    top, v1 = place_of(paths, "memory")
    return numbers(top / ("memory.oom_control" if v1 else "memory.events"))


def usage(paths: Paths) -> Usage:
    """A box's usage: bytes of memory, current and peak; microseconds of CPU time and of throttling; processes; OOM
    kills; with a CPU quota, the number of periods and of throttled periods.

    A figure is None if this host's kernel does not keep it, or the box lacks the controller.
    """
    return _memory(paths) | _cpu(paths) | _processes(paths) | {"oomKills": memory_events(paths).get("oom_kill")}


def _memory(paths: Paths) -> Usage:
    top, v1 = place_of(paths, "memory")
    if not v1:
        names = {"memory": "current", "memoryPeak": "peak", "memoryLimit": "max"}
        return {name: number(top / f"memory.{file}") for name, file in names.items()}
    limit = number(top / "memory.limit_in_bytes")
    return {
        "memory": number(top / "memory.usage_in_bytes"),
        "memoryPeak": number(top / "memory.max_usage_in_bytes"),
        # v1 writes "no limit" as the highest number of pages (memory.rst).
        "memoryLimit": None if limit is None or limit >= 1 << 62 else limit,
    }


def _cpu(paths: Paths) -> Usage:
    top, v1 = place_of(paths, "cpu")
    counts = numbers(top / "cpu.stat")
    used, throttled = counts.get("usage_usec"), counts.get("throttled_usec")
    if v1:
        used = _microseconds(number(place_of(paths, "cpuacct")[0] / "cpuacct.usage"))
        throttled = _microseconds(counts.get("throttled_time"))
    return {
        "cpuMicroseconds": used,
        "throttledMicroseconds": throttled,
        "cpuPeriods": counts.get("nr_periods"),
        "throttledPeriods": counts.get("nr_throttled"),
    }


def _microseconds(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else nanoseconds // 1000


def _processes(paths: Paths) -> Usage:
    top, _ = place_of(paths, "pids")
    return {"processes": number(top / "pids.current"), "processesLimit": number(top / "pids.max")}


def number(path: Path) -> int | None:
    """The number in a file; None if the file does not exist, or says "max"."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None

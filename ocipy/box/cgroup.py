"""What a box uses and what it was denied, from the files of its cgroup (v1, hybrid and v2)."""

from __future__ import annotations

from pathlib import Path

TOP = Path("/sys/fs/cgroup")


def directories(box_id: str) -> dict[str, Path]:
    """The box's cgroup in each hierarchy, by the name of the hierarchy's mount point; "" on pure v2."""
    name = f"ocipy-box-{box_id}"
    places = {"": TOP / name} | {
        path.name: path / name for path in TOP.glob("*/") if not (TOP / "cgroup.procs").exists()
    }
    places[""] = next(
        (path for path in (TOP / name, TOP / "system.slice" / f"{name}.scope") if path.is_dir()), TOP / name
    )
    return {kind: path for kind, path in places.items() if path.is_dir()}


def numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a number; {} if the file does not exist."""
    try:
        return numbers_in(path.read_bytes())
    except OSError:
        return {}


def numbers_in(data: bytes) -> dict[str, int]:
    """Lines of a name and a number; others are left out. Pure."""
    pairs = (line.split(b" ") for line in data.split(b"\n"))
    return {pair[0].decode("ascii", "replace"): int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def oom_kills(box_id: str) -> int:
    """How many of its processes the kernel's OOM killer has killed; 0 if its cgroup is gone."""
    found = directories(box_id)
    if "" in found:
        return numbers(found[""] / "memory.events").get("oom_kill", 0)
    if "memory" in found:
        return numbers(found["memory"] / "memory.oom_control").get("oom_kill", 0)
    return 0


def usage(box_id: str) -> dict[str, int | None]:
    """Its usage: bytes of memory now and at most, microseconds of CPU and of throttling, processes, OOM kills; with a
    quota, its periods and the throttled ones.

    None for a figure that this host's kernel does not keep.
    """
    found = directories(box_id)
    if "" in found and (found[""] / "memory.current").exists():
        top, cpu = found[""], numbers(found[""] / "cpu.stat")
        return {
            "memory": number(top / "memory.current"),
            "memoryPeak": number(top / "memory.peak"),
            "memoryLimit": number(top / "memory.max"),
            "cpuMicroseconds": cpu.get("usage_usec"),
            "throttledMicroseconds": cpu.get("throttled_usec"),
            "cpuPeriods": cpu.get("nr_periods"),
            "throttledPeriods": cpu.get("nr_throttled"),
            "processes": number(top / "pids.current"),
            "processesLimit": number(top / "pids.max"),
            "oomKills": oom_kills(box_id),
        }
    memory, pids = found.get("memory", TOP / "none"), found.get("pids", TOP / "none")
    cpu_time = number(found.get("cpuacct", TOP / "none") / "cpuacct.usage")
    cpu = numbers(found.get("cpu", TOP / "none") / "cpu.stat")
    throttled = cpu.get("throttled_time")
    limit = number(memory / "memory.limit_in_bytes")
    return {
        "memory": number(memory / "memory.usage_in_bytes"),
        "memoryPeak": number(memory / "memory.max_usage_in_bytes"),
        # v1 writes "no limit" as the highest number of pages (memory.rst).
        "memoryLimit": None if limit is None or limit >= 1 << 62 else limit,
        "cpuMicroseconds": None if cpu_time is None else cpu_time // 1000,
        "throttledMicroseconds": None if throttled is None else throttled // 1000,
        "cpuPeriods": cpu.get("nr_periods"),
        "throttledPeriods": cpu.get("nr_throttled"),
        "processes": number(pids / "pids.current"),
        "processesLimit": number(pids / "pids.max"),
        "oomKills": oom_kills(box_id),
    }


def number(path: Path) -> int | None:
    """The number in a file; None if the file does not exist, or says "max"."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None

"""Paths as text. Nothing here accesses a file."""

from __future__ import annotations

# The only mount points allowed below /proc, because lxcfs uses them to show a container its own figures.
ALLOWED_IN_PROC = (
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
)


def clean(path: str) -> str:
    """Return an absolute path without "", "." and ".."; a ".." at the top stays at the top."""
    if path[:1] == "/" and path[-1] != "/" and "//" not in path and "/." not in path:
        return path  # as nearly always
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept)

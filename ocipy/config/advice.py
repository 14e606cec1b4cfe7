"""What in a config.json is allowed but deserves a warning: `ocipy validate`. Cold.

These are the SHOULDs of the specification, and cases where the kernel would silently do something other than was
intended. misspelt.py has the unknown members.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ocipy.config.misspelt import OTHER_PLATFORMS, nearest
from ocipy.linux.capabilities import NAMES as CAPABILITIES

if TYPE_CHECKING:
    from ocipy.config.types import Config, Linux

_FORBIDDING = ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP")
_COVERED = {"proc": "/proc", "sysfs": "/sys"}

Warnings = Iterator[tuple[str, str]]


def warnings(config: Config) -> Warnings:
    """(JSON pointer, text) of each. config has passed check.check."""
    yield from _top(config)
    process = config.get("process")
    if process is not None:
        yield from _capabilities(dict(process.get("capabilities") or {}))
        if process.get("consoleSize") and not process.get("terminal"):
            yield "/process/consoleSize", "is ignored without terminal"
    yield from _mounts(config)
    yield from _pids(config)
    linux = config.get("linux")
    if linux is not None:
        yield from _linux(linux)


def _top(config: Config) -> Warnings:
    if config.get("process") is None:
        yield "/process", "is missing, so there is nothing to start"
    if (config.get("hooks") or {}).get("prestart"):
        yield "/hooks/prestart", "is deprecated: use createRuntime, createContainer or startContainer"
    for name in OTHER_PLATFORMS:
        if config.get(name) is not None:
            yield "/" + name, "is for another platform and is ignored on Linux"


def _pids(config: Config) -> Warnings:
    """Since 1.3 the specification says that 0 is a limit; earlier runtimes treated it as no limit."""
    pids = ((config.get("linux") or {}).get("resources") or {}).get("pids") or {}
    older = [int(part) for part in config["ociVersion"].split(".")[:2]] < [1, 3]
    # podman writes 0 for no limit (docs/cgroups.md).
    by_podman = (config.get("annotations") or {}).get("io.container.manager") == "libpod"
    if pids.get("limit") == 0 and older and not by_podman:
        yield "/linux/resources/pids/limit", "0 allows no process; -1 means no limit, as 0 did before version 1.3"


def _capabilities(sets: dict[str, Any]) -> Warnings:
    """config.md: warn about names that the kernel does not know. capabilities(7) relates the sets to each other."""
    held = {name: set(values or ()) for name, values in sets.items() if isinstance(values, list)}
    unknown: set[str] = set()
    for name, values in sets.items():
        for index, value in enumerate(values if isinstance(values, list) else ()):
            pointer = f"/process/capabilities/{name}/{index}"
            if value not in CAPABILITIES:
                meant = nearest(value, CAPABILITIES)
                if value not in unknown:  # once for all sets
                    yield pointer, f"{value} is not a Linux capability" + (f"; did you mean {meant}?" if meant else "")
                unknown.add(value)
            elif name == "effective" and value not in held.get("permitted", ()):
                yield pointer, f"{value} is not in the permitted set, so it cannot be effective"
            elif name == "ambient" and not all(value in held.get(other, ()) for other in ("permitted", "inheritable")):
                yield pointer, f"{value} is not both permitted and inheritable, so it cannot be ambient"


def _mounts(config: Config) -> Warnings:
    for index, mount in enumerate(config.get("mounts") or ()):
        if mount["destination"][:1] != "/":
            yield f"/mounts/{index}/destination", "is relative, which is deprecated; it is interpreted as relative to /"
        if mount.get("type") in _COVERED and mount["destination"].rstrip("/") != _COVERED[mount["type"]]:
            yield f"/mounts/{index}/destination", "is not the usual place: maskedPaths and readonlyPaths miss it"
        options = mount.get("options") or []
        if mount.get("uidMappings") and not {"idmap", "ridmap"} & set(options):
            yield f"/mounts/{index}/options", "should contain idmap or ridmap, or a runtime may overlook the mappings"
        if not {"bind", "rbind", "remount"} & set(options):
            if not mount.get("type"):
                yield f"/mounts/{index}/type", "is missing, and the mount is not a bind mount"
            elif mount["type"] == "bind":
                text = 'should contain "bind" or "rbind", or another runtime may not make a bind mount'
                yield f"/mounts/{index}/options", text


def _linux(linux: Linux) -> Warnings:
    seen: dict[object, int] = {}
    paths: dict[str, int] = {}
    for index, device in enumerate(linux.get("devices") or ()):
        key = (device["type"], device.get("major"), device.get("minor"))
        if device["type"] != "p" and seen.setdefault(key, index) != index:
            yield f"/linux/devices/{index}", f"is the same device as /linux/devices/{seen[key]}"
        if paths.setdefault(device["path"], index) != index:
            yield f"/linux/devices/{index}/path", f"is also the path of /linux/devices/{paths[device['path']]}"
    resources = linux.get("resources")
    memory = resources.get("memory") if resources else None
    for member in ("kernel", "kernelTCP"):
        if memory and memory.get(member) is not None:
            yield f"/linux/resources/memory/{member}", "is not recommended; newer kernels have no such limit"
    rdt = linux.get("intelRdt")
    cache = rdt.get("l3CacheSchema") if rdt else None
    if cache and not cache.startswith("L3:"):
        yield "/linux/intelRdt/l3CacheSchema", "should begin with L3:"
    seccomp = linux.get("seccomp")
    if seccomp and seccomp["defaultAction"] in _FORBIDDING:
        if not any("execve" in rule["names"] for rule in seccomp.get("syscalls") or ()):
            yield "/linux/seccomp/syscalls", "does not permit execve: the container's process cannot start"
    if (linux.get("cgroupsPath") or "").count(":") == 2:
        yield "/linux/cgroupsPath", "has the form SLICE:PREFIX:NAME of --systemd-cgroup; without the flag it is a path"

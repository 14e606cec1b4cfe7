"""linux.resources as a list of writes: which file in which hierarchy gets which value, in which order. Pure.

The options of Cgroup.write handle what depends on the kernel's files and on their current values. The device rules are
separate: devices.py.
"""

from __future__ import annotations

from ocipy.cgroups import v1_files, v2_files
from ocipy.cgroups.writes import Writes
from ocipy.errors import Error, escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ocipy.config.types import Resources

# A part of resources: its name, its v1 and v2 controllers, and the functions that turn it into writes on each.
Part = tuple[str, str, str, "Callable[[Writes, Any], None]", "Callable[[Writes, Any], None]"]

EARLY: tuple[Part, ...] = (
    ("cpu", "cpuset", "cpuset", v1_files.cpuset, v2_files.nothing),
    ("cpu", "cpu", "cpu", v1_files.realtime, v2_files.nothing),
)
CPUSET: Part = ("cpu", "cpuset", "cpuset", v1_files.nothing, v2_files.cpuset)
MEMORY: Part = ("memory", "memory", "memory", v1_files.memory, v2_files.memory)
CPU: Part = ("cpu", "cpu", "cpu", v1_files.cpu, v2_files.cpu)
PIDS: Part = ("pids", "pids", "pids", v1_files.pids, v2_files.pids)
BLOCK_IO: Part = ("blockIO", "blkio", "io", v1_files.block_io, v2_files.block_io)
HUGETLB: Part = ("hugepageLimits", "hugetlb", "hugetlb", v1_files.hugetlb, v2_files.hugetlb)
# network has two controllers on v1 and none on v2, where it is refused.
NET_CLS: Part = ("network", "net_cls", "", v1_files.net_cls, v2_files.net_cls)
NET_PRIO: Part = ("network", "net_prio", "", v1_files.net_prio, v2_files.net_prio)
RDMA: Part = ("rdma", "rdma", "rdma", v1_files.rdma, v2_files.rdma)

# In runc's order, which differs between the versions.
LATER_V1 = (CPUSET, MEMORY, CPU, PIDS, BLOCK_IO, HUGETLB, NET_CLS, NET_PRIO, RDMA)
LATER_V2 = (PIDS, MEMORY, BLOCK_IO, CPU, CPUSET, HUGETLB, NET_CLS, NET_PRIO, RDMA)
NAMES = frozenset(part[0] for part in (*EARLY, *LATER_V1))


def early(resources: Resources, mode: str, controllers: tuple[str, ...]) -> Writes:
    """Return the writes that must be done before a process joins: v1's cpuset and realtime budget. Raises Error."""
    return _compile(EARLY, resources, mode, controllers)


def limits(resources: Resources, mode: str, controllers: tuple[str, ...]) -> Writes:
    """Return all other writes, except those for devices. Raises Error with the field's pointer for what the host lacks.

    mode, controllers: as in plan.model.Host. A pids.limit of 0 counts as a number here.
    """
    writes = _compile(LATER_V2 if mode == "v2" else LATER_V1, resources, mode, controllers)
    _unified(writes, resources.get("unified") or {}, mode, controllers)
    return writes


def _compile(parts: tuple[Part, ...], resources: Resources, mode: str, controllers: tuple[str, ...]) -> Writes:
    writes = Writes("/linux/resources")
    if NAMES.isdisjoint(resources):  # as in many configs, which limit devices alone
        return writes
    for name, v1, v2, write_v1, write_v2 in parts:
        part: Any = resources.get(name)
        if not part:
            continue
        inner = writes.below(name)
        if mode != "v2" and any(v1 in hierarchy.split(",") for hierarchy in controllers):
            write_v1(inner, part)
        elif mode == "v2" or "unified:" + v2 in controllers:
            before = len(writes.actions)
            write_v2(inner, part)
            if len(writes.actions) == before:
                continue
            if mode == "v2" and v2 not in controllers:
                raise _missing(v2, writes.actions[before][1])
            writes.unified.add(v2)
        else:
            before = len(writes.actions)
            write_v1(inner, part)
            if len(writes.actions) > before:
                raise _missing(v1, writes.actions[before][1])
    return writes


def _missing(controller: str, pointer: str) -> Error:
    return Error(
        f"the cgroup controller {controller} is not available on this host",
        pointer=pointer,
        hint="it is not mounted, not enabled at the top of the hierarchy, or the kernel was built without it",
    )


def _unified(writes: Writes, unified: dict[str, str], mode: str, controllers: tuple[str, ...]) -> None:
    """Add linux.resources.unified, file by file and line by line. It comes last, so that it takes precedence."""
    for file, value in unified.items():
        inner = writes.below("unified")
        pointer = inner.base + escape(file)
        if mode == "v1":
            raise Error("unified resources need cgroup v2, which this host does not have", pointer=pointer)
        assert "/" not in file and "." in file.strip(".")
        controller = file.partition(".")[0]
        # The files cgroup.* and *.pressure (pressure stall information) do not belong to a controller.
        if controller != "cgroup" and not file.endswith(".pressure"):
            if (controller if mode == "v2" else "unified:" + controller) not in controllers:
                raise _missing(controller, pointer)
            writes.unified.add(controller)
        for line in value.split("\n"):
            if line:
                inner.add_at(pointer, "", file, line)

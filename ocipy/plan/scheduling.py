"""process.scheduler, process.ioPriority, linux.personality, linux.memoryPolicy."""

from __future__ import annotations

from ocipy.linux.constants import (
    IOPRIO_CLASS_BE,
    IOPRIO_CLASS_IDLE,
    IOPRIO_CLASS_RT,
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_F_NUMA_BALANCING,
    MPOL_F_RELATIVE_NODES,
    MPOL_F_STATIC_NODES,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
    PER_LINUX,
    PER_LINUX32,
    SCHED_BATCH,
    SCHED_DEADLINE,
    SCHED_FIFO,
    SCHED_FLAG_DL_OVERRUN,
    SCHED_FLAG_KEEP_PARAMS,
    SCHED_FLAG_KEEP_POLICY,
    SCHED_FLAG_RECLAIM,
    SCHED_FLAG_RESET_ON_FORK,
    SCHED_FLAG_UTIL_CLAMP_MAX,
    SCHED_FLAG_UTIL_CLAMP_MIN,
    SCHED_IDLE,
    SCHED_OTHER,
    SCHED_RR,
)
from ocipy.plan.fields import process_of
from ocipy.plan.model import InitStep, if_set, phrase
from ocipy.plan.numbers import parse_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ocipy.config import types
    from ocipy.plan.model import Planner

SCHEDULER = "/process/scheduler"
POLICIES = {
    "SCHED_OTHER": SCHED_OTHER,
    "SCHED_FIFO": SCHED_FIFO,
    "SCHED_RR": SCHED_RR,
    "SCHED_BATCH": SCHED_BATCH,
    "SCHED_IDLE": SCHED_IDLE,
    "SCHED_DEADLINE": SCHED_DEADLINE,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": SCHED_FLAG_RESET_ON_FORK,
    "SCHED_FLAG_RECLAIM": SCHED_FLAG_RECLAIM,
    "SCHED_FLAG_DL_OVERRUN": SCHED_FLAG_DL_OVERRUN,
    "SCHED_FLAG_KEEP_POLICY": SCHED_FLAG_KEEP_POLICY,
    "SCHED_FLAG_KEEP_PARAMS": SCHED_FLAG_KEEP_PARAMS,
    "SCHED_FLAG_UTIL_CLAMP_MIN": SCHED_FLAG_UTIL_CLAMP_MIN,
    "SCHED_FLAG_UTIL_CLAMP_MAX": SCHED_FLAG_UTIL_CLAMP_MAX,
}
IO_PRIORITY = "/process/ioPriority"
IO_CLASSES = {
    "IOPRIO_CLASS_RT": IOPRIO_CLASS_RT,
    "IOPRIO_CLASS_BE": IOPRIO_CLASS_BE,
    "IOPRIO_CLASS_IDLE": IOPRIO_CLASS_IDLE,
}
PERSONALITY = "/linux/personality"
DOMAINS = {"LINUX": PER_LINUX, "LINUX32": PER_LINUX32}
MEMORY_POLICY = "/linux/memoryPolicy"
MODES = {
    "MPOL_DEFAULT": MPOL_DEFAULT,
    "MPOL_BIND": MPOL_BIND,
    "MPOL_INTERLEAVE": MPOL_INTERLEAVE,
    "MPOL_WEIGHTED_INTERLEAVE": MPOL_WEIGHTED_INTERLEAVE,
    "MPOL_PREFERRED": MPOL_PREFERRED,
    "MPOL_PREFERRED_MANY": MPOL_PREFERRED_MANY,
    "MPOL_LOCAL": MPOL_LOCAL,
}
MODE_FLAGS = {
    "MPOL_F_NUMA_BALANCING": MPOL_F_NUMA_BALANCING,
    "MPOL_F_RELATIVE_NODES": MPOL_F_RELATIVE_NODES,
    "MPOL_F_STATIC_NODES": MPOL_F_STATIC_NODES,
}


class Scheduler(InitStep):
    """sched_setattr(2)."""

    policy: int
    flags: int
    nice: int
    priority: int
    runtime: int
    deadline: int
    period: int

    def describe(self) -> str:
        times = f"runtime {self.runtime} deadline {self.deadline} period {self.period} ns"
        nice, priority = if_set(self.nice, f"nice {self.nice}"), if_set(self.priority, f"priority {self.priority}")
        return phrase(_name_of(POLICIES, self.policy), nice, priority, if_set(self.runtime, times))


class IoPriority(InitStep):
    """ioprio_set(2)."""

    kind: int
    level: int

    def describe(self) -> str:
        return f"{_name_of(IO_CLASSES, self.kind)} {self.level}"


class Personality(InitStep):
    """personality(2)."""

    domain: int

    def describe(self) -> str:
        return _name_of(DOMAINS, self.domain)


class MemoryPolicy(InitStep):
    """set_mempolicy(2). mode: with its flags."""

    mode: int
    nodes: tuple[int, ...]

    def describe(self) -> str:
        flags = [name for name, flag in MODE_FLAGS.items() if self.mode & flag]
        mode = self.mode
        for name in flags:
            mode &= ~MODE_FLAGS[name]
        nodes = ",".join(map(str, self.nodes))
        return phrase(_name_of(MODES, mode), *flags, if_set(nodes, "nodes " + nodes))


def _name_of(table: Mapping[str, int], value: int) -> str:
    return next((name for name, number in table.items() if number == value), str(value))


def plan_scheduling(planner: Planner) -> None:
    """Plan all four, in the container's cgroup and still with all privileges."""
    config = planner.config
    process = process_of(config)
    linux = config.get("linux") or {}
    scheduler = process.get("scheduler")
    if scheduler is not None:
        _plan_scheduler(planner, scheduler)
    io_priority = process.get("ioPriority")
    if io_priority is not None:
        _plan_io_priority(planner, io_priority)
    personality = linux.get("personality")
    if personality is not None:
        _plan_personality(planner, personality)
    memory_policy = linux.get("memoryPolicy")
    if memory_policy is not None:
        _plan_memory_policy(planner, memory_policy)


def _flags(table: Mapping[str, int], words: Sequence[str]) -> int:
    bits = 0
    for word in words:
        bits |= table[word]
    return bits


def _plan_scheduler(planner: Planner, scheduler: types.Scheduler) -> None:
    """sched_setattr(2)."""
    planner.in_init(
        Scheduler(
            SCHEDULER,
            policy=POLICIES[scheduler["policy"]],
            flags=_flags(SCHEDULER_FLAGS, scheduler.get("flags") or ()),
            nice=scheduler.get("nice") or 0,
            priority=scheduler.get("priority") or 0,
            runtime=scheduler.get("runtime") or 0,
            deadline=scheduler.get("deadline") or 0,
            period=scheduler.get("period") or 0,
        )
    )


def _plan_io_priority(planner: Planner, io_priority: types.IOPriority) -> None:
    kind, level = IO_CLASSES[io_priority["class"]], io_priority.get("priority") or 0
    planner.in_init(IoPriority(IO_PRIORITY, kind=kind, level=level))


def _plan_personality(planner: Planner, personality: types.Personality) -> None:
    planner.in_init(Personality(PERSONALITY, domain=DOMAINS[personality["domain"]]))


def _plan_memory_policy(planner: Planner, memory_policy: types.MemoryPolicy) -> None:
    """set_mempolicy(2)."""
    mode = MODES[memory_policy["mode"]] | _flags(MODE_FLAGS, memory_policy.get("flags") or ())
    planner.in_init(MemoryPolicy(MEMORY_POLICY, mode=mode, nodes=parse_list(memory_policy.get("nodes") or "")))

"""process.scheduler, process.ioPriority, linux.personality, linux.memoryPolicy."""

from __future__ import annotations

from ocipy.errors import Error
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
from ocipy.plan.numbers import parse_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ocipy.config.types import Config, IOPriority, MemoryPolicy, Personality, Scheduler
    from ocipy.plan.model import Host, Options, Plan

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


def plan_scheduling(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """All four, in the container's cgroup and with all rights still there."""
    process = process_of(config)
    linux = config.get("linux") or {}
    scheduler = process.get("scheduler")
    if scheduler is not None:
        _plan_scheduler(plan, scheduler)
    io_priority = process.get("ioPriority")
    if io_priority is not None:
        _plan_io_priority(plan, io_priority)
    personality = linux.get("personality")
    if personality is not None:
        _plan_personality(plan, personality)
    memory_policy = linux.get("memoryPolicy")
    if memory_policy is not None:
        _plan_memory_policy(plan, memory_policy)


def _one_of(table: Mapping[str, int], word: str, pointer: str) -> int:
    if word not in table:
        raise Error(f"{word!r} is none of {', '.join(table)}", pointer=pointer)
    return table[word]


def _flags(table: Mapping[str, int], words: Sequence[str], pointer: str) -> int:
    bits = 0
    for index, word in enumerate(words):
        bits |= _one_of(table, word, f"{pointer}/{index}")
    return bits


def _plan_scheduler(plan: Plan, scheduler: Scheduler) -> None:
    """sched_setattr(2). What a policy would silently ignore is refused."""
    name = scheduler["policy"]
    if name == "SCHED_ISO":
        raise Error("SCHED_ISO is reserved, but not implemented by Linux", pointer=SCHEDULER + "/policy")
    policy = _one_of(POLICIES, name, SCHEDULER + "/policy")
    nice = scheduler.get("nice") or 0
    priority = scheduler.get("priority") or 0
    if not -20 <= nice <= 19:
        raise Error(f"{nice} is not within -20 and 19", pointer=SCHEDULER + "/nice")
    if nice and policy not in (SCHED_OTHER, SCHED_BATCH):
        raise Error(f"{name} takes no nice value", pointer=SCHEDULER + "/nice")
    if priority and policy not in (SCHED_FIFO, SCHED_RR):
        raise Error(f"{name} takes no priority", pointer=SCHEDULER + "/priority")
    if policy in (SCHED_FIFO, SCHED_RR) and not 1 <= priority <= 99:
        raise Error(f"{name} needs a priority from 1 to 99", pointer=SCHEDULER + "/priority")
    times = []
    for member, time in (
        ("runtime", scheduler.get("runtime")),
        ("deadline", scheduler.get("deadline")),
        ("period", scheduler.get("period")),
    ):
        if time and policy != SCHED_DEADLINE:
            raise Error(f"{name} takes no {member}", pointer=f"{SCHEDULER}/{member}")
        times.append(time or 0)
    plan.in_init(
        "scheduler",
        SCHEDULER,
        policy=policy,
        flags=_flags(SCHEDULER_FLAGS, scheduler.get("flags") or (), SCHEDULER + "/flags"),
        nice=nice,
        priority=priority,
        runtime=times[0],
        deadline=times[1],
        period=times[2],
    )


def _plan_io_priority(plan: Plan, io_priority: IOPriority) -> None:
    level = io_priority.get("priority") or 0
    if not 0 <= level <= 7:
        raise Error(f"{level} is not within 0 and 7", pointer=IO_PRIORITY + "/priority")
    kind = _one_of(IO_CLASSES, io_priority["class"], IO_PRIORITY + "/class")
    plan.in_init("io_priority", IO_PRIORITY, kind=kind, level=level)


def _plan_personality(plan: Plan, personality: Personality) -> None:
    if personality.get("flags"):
        # config-linux.md: "Currently no flag values are supported."
        raise Error("there are no flags of a personality", pointer=PERSONALITY + "/flags")
    plan.in_init("personality", PERSONALITY, domain=_one_of(DOMAINS, personality["domain"], PERSONALITY + "/domain"))


def _plan_memory_policy(plan: Plan, memory_policy: MemoryPolicy) -> None:
    """set_mempolicy(2): some modes take no nodes, others need one at least."""
    name = memory_policy["mode"]
    mode = _one_of(MODES, name, MEMORY_POLICY + "/mode")
    nodes = parse_list(memory_policy.get("nodes") or "", MEMORY_POLICY + "/nodes")
    flags = _flags(MODE_FLAGS, memory_policy.get("flags") or (), MEMORY_POLICY + "/flags")
    if nodes and mode in (MPOL_DEFAULT, MPOL_LOCAL):
        raise Error(f"{name} takes no nodes", pointer=MEMORY_POLICY + "/nodes")
    if not nodes and mode not in (MPOL_DEFAULT, MPOL_LOCAL, MPOL_PREFERRED):
        raise Error(f"{name} needs at least one node", pointer=MEMORY_POLICY + "/nodes")
    if flags & MPOL_F_STATIC_NODES and flags & MPOL_F_RELATIVE_NODES:
        raise Error(
            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other", pointer=MEMORY_POLICY + "/flags"
        )
    if flags & MPOL_F_NUMA_BALANCING and mode not in (MPOL_BIND, MPOL_PREFERRED_MANY):
        raise Error(f"{name} does not go with MPOL_F_NUMA_BALANCING", pointer=MEMORY_POLICY + "/flags")
    plan.in_init("memory_policy", MEMORY_POLICY, mode=mode | flags, nodes=nodes)

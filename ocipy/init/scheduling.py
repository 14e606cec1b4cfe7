"""process.scheduler, process.ioPriority, linux.personality and linux.memoryPolicy, which all survive the exec."""

from __future__ import annotations

import errno

from ocipy.errors import caused_by, reported_as
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.linux.constants import IOPRIO_CLASS_SHIFT, IOPRIO_WHO_PGRP, SCHED_DEADLINE, SCHED_FIFO, SCHED_RR
from ocipy.plan.scheduling import IoPriority, MemoryPolicy, Personality, Scheduler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

NO_POLICY = {
    errno.EINVAL: "a node does not exist, is not among linux.resources.cpu.mems, or the kernel does not know the mode",
    errno.ENOSYS: "the kernel is built without NUMA",
}


@carries_out(Scheduler)
def scheduler(init: Init, step: Scheduler) -> None:
    """Set our scheduling policy (sched_setattr(2)). Times are in nanoseconds."""
    try:
        _kernel.sched_setattr(
            0, step.policy, step.flags, step.nice, step.priority, step.runtime, step.deadline, step.period
        )
    except OSError as error:
        hint = ""
        if error.errno == errno.EPERM and step.policy == SCHED_DEADLINE:
            hint = "SCHED_DEADLINE needs CAP_SYS_NICE and cannot be combined with a cpuset (linux.resources.cpu.cpus)"
        elif error.errno == errno.EPERM:
            hint = "it needs CAP_SYS_NICE"
            if step.policy in (SCHED_FIFO, SCHED_RR):
                hint += ", and on cgroup v1 a realtimeRuntime in linux.resources.cpu"
        elif error.errno == errno.EINVAL and step.policy == SCHED_DEADLINE:
            hint = "runtime <= deadline <= period must hold, and runtime must be at least 1024 ns"
        elif error.errno == errno.EBUSY:
            hint = "the CPUs do not have that much time left"
        raise caused_by(error, "cannot set the scheduling policy", hint=hint) from None


@carries_out(IoPriority)
def io_priority(init: Init, step: IoPriority) -> None:
    """Set the I/O priority of our process group (ioprio_set(2)), in which we are alone since setsid."""
    with reported_as(
        "cannot set the I/O priority",
        hint={errno.EPERM: "IOPRIO_CLASS_RT needs CAP_SYS_ADMIN or CAP_SYS_NICE on the host"},
    ):
        _kernel.ioprio_set(IOPRIO_WHO_PGRP, 0, step.kind << IOPRIO_CLASS_SHIFT | step.level)


@carries_out(Personality)
def personality(init: Init, step: Personality) -> None:
    """Set the execution domain (personality(2))."""
    with reported_as("cannot set the personality"):
        _kernel.personality(step.domain)


@carries_out(MemoryPolicy)
def memory_policy(init: Init, step: MemoryPolicy) -> None:
    """Set the NUMA policy (set_mempolicy(2)). mode: with its flags."""
    with reported_as("cannot set the memory policy", hint=NO_POLICY):
        _kernel.set_mempolicy(step.mode, step.nodes)

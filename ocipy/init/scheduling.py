"""process.scheduler, process.ioPriority, linux.personality and linux.memoryPolicy, which all survive the exec."""

from __future__ import annotations

import errno

from ocipy.errors import Error
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.linux.constants import IOPRIO_CLASS_SHIFT, IOPRIO_WHO_PGRP, SCHED_DEADLINE, SCHED_FIFO, SCHED_RR
from ocipy.plan.scheduling import IoPriority, MemoryPolicy, Personality, Scheduler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(Scheduler)
def scheduler(init: Init, step: Scheduler) -> None:
    """sched_setattr(2) on ourselves. Times in nanoseconds."""
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
        raise Error("cannot set the scheduling policy", errno=error.errno or 0, hint=hint) from None


@carries_out(IoPriority)
def io_priority(init: Init, step: IoPriority) -> None:
    """ioprio_set(2) on our process group, which is our own since setsid."""
    try:
        _kernel.ioprio_set(IOPRIO_WHO_PGRP, 0, step.kind << IOPRIO_CLASS_SHIFT | step.level)
    except OSError as error:
        hint = "IOPRIO_CLASS_RT needs CAP_SYS_ADMIN or CAP_SYS_NICE on the host" if error.errno == errno.EPERM else ""
        raise Error("cannot set the I/O priority", errno=error.errno or 0, hint=hint) from None


@carries_out(Personality)
def personality(init: Init, step: Personality) -> None:
    """personality(2)."""
    try:
        _kernel.personality(step.domain)
    except OSError as error:
        raise Error("cannot set the personality", errno=error.errno or 0) from None


@carries_out(MemoryPolicy)
def memory_policy(init: Init, step: MemoryPolicy) -> None:
    """set_mempolicy(2). mode: including its flags."""
    try:
        _kernel.set_mempolicy(step.mode, step.nodes)
    except OSError as error:
        hint = ""
        if error.errno == errno.EINVAL:
            hint = "a node does not exist, is not among linux.resources.cpu.mems, or the kernel does not know the mode"
        elif error.errno == errno.ENOSYS:
            hint = "the kernel is built without NUMA"
        raise Error("cannot set the memory policy", errno=error.errno or 0, hint=hint) from None

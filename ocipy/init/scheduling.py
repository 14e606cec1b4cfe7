"""process.scheduler, process.ioPriority, linux.personality and linux.memoryPolicy, which all survive the exec."""

from __future__ import annotations

import errno

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import IOPRIO_CLASS_SHIFT, IOPRIO_WHO_PGRP, SCHED_DEADLINE, SCHED_FIFO, SCHED_RR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.init.context import Init


def scheduler(
    init: Init, *, policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None:
    """sched_setattr(2) on ourselves. Times in nanoseconds."""
    try:
        _kernel.sched_setattr(0, policy, flags, nice, priority, runtime, deadline, period)
    except OSError as error:
        hint = ""
        if error.errno == errno.EPERM and policy == SCHED_DEADLINE:
            hint = "SCHED_DEADLINE needs CAP_SYS_NICE and cannot be combined with a cpuset (linux.resources.cpu.cpus)"
        elif error.errno == errno.EPERM:
            hint = "it needs CAP_SYS_NICE"
            if policy in (SCHED_FIFO, SCHED_RR):
                hint += ", and on cgroup v1 a realtimeRuntime in linux.resources.cpu"
        elif error.errno == errno.EINVAL and policy == SCHED_DEADLINE:
            hint = "runtime <= deadline <= period must hold, and runtime must be at least 1024 ns"
        elif error.errno == errno.EBUSY:
            hint = "the CPUs do not have that much time left"
        raise Error("cannot set the scheduling policy", errno=error.errno or 0, hint=hint) from None


def io_priority(init: Init, *, kind: int, level: int) -> None:
    """ioprio_set(2) on our process group, which is our own since setsid."""
    try:
        _kernel.ioprio_set(IOPRIO_WHO_PGRP, 0, kind << IOPRIO_CLASS_SHIFT | level)
    except OSError as error:
        hint = "IOPRIO_CLASS_RT needs CAP_SYS_ADMIN or CAP_SYS_NICE on the host" if error.errno == errno.EPERM else ""
        raise Error("cannot set the I/O priority", errno=error.errno or 0, hint=hint) from None


def personality(init: Init, *, domain: int) -> None:
    """personality(2)."""
    try:
        _kernel.personality(domain)
    except OSError as error:
        raise Error("cannot set the personality", errno=error.errno or 0) from None


def memory_policy(init: Init, *, mode: int, nodes: tuple[int, ...]) -> None:
    """set_mempolicy(2). mode: including its flags."""
    try:
        _kernel.set_mempolicy(mode, nodes)
    except OSError as error:
        hint = ""
        if error.errno == errno.EINVAL:
            hint = "a node does not exist, is not among linux.resources.cpu.mems, or the kernel does not know the mode"
        elif error.errno == errno.ENOSYS:
            hint = "the kernel is built without NUMA"
        raise Error("cannot set the memory policy", errno=error.errno or 0, hint=hint) from None


ACTIONS: dict[str, Callable[..., None]] = {
    "scheduler": scheduler,
    "io_priority": io_priority,
    "personality": personality,
    "memory_policy": memory_policy,
}

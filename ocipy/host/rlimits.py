"""process.rlimits on the host: set on the init process by its pid (prlimit(2))."""

from __future__ import annotations

import errno

from ocipy.errors import caused_by
from ocipy.host.context import carries_out
from ocipy.linux import _kernel
from ocipy.plan.rlimits import RaiseRlimit, Rlimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(Rlimit)
def rlimit(run: HostRun, step: Rlimit) -> None:
    """prlimit(2). 2**64 - 1 means unlimited."""
    set_rlimit(run.pid, step.name, step.resource, step.soft, step.hard)


def set_rlimit(pid: int, name: str, resource: int, soft: int, hard: int) -> None:
    """prlimit(2) on one of our processes. Raises Error."""
    try:
        _kernel.prlimit(pid, resource, soft, hard)
    except OSError as error:
        hint = ""
        current = _hard_limit(pid, resource)
        if error.errno == errno.EPERM and current < 0:
            hint = "the process is in another user namespace, where this needs CAP_SYS_RESOURCE"
        elif error.errno == errno.EPERM:
            hint = f"the hard limit is {current}, and raising it needs CAP_SYS_RESOURCE, which the runtime lacks"
            if hard <= current:
                hint = "the runtime lacks CAP_SYS_RESOURCE"
            elif name == "RLIMIT_NOFILE":
                hint += "; or it is above /proc/sys/fs/nr_open"
        raise caused_by(error, f"cannot set {name} to {soft}:{hard}", hint=hint) from None


@carries_out(RaiseRlimit)
def raise_rlimit(run: HostRun, step: RaiseRlimit) -> None:
    """Raise a hard limit that is lower: init, which will lack the privilege, then lowers it itself (rlimit_at_exec)."""
    soft, current = _kernel.prlimit(run.pid, step.resource, -1, -1)
    if current < step.hard:
        set_rlimit(run.pid, step.name, step.resource, soft, step.hard)


def _hard_limit(pid: int, resource: int) -> int:
    """Return the hard limit, -1 if we may not even ask."""
    try:
        return _kernel.prlimit(pid, resource, -1, -1)[1]
    except OSError:
        return -1

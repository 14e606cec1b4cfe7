"""process.rlimits: most are set at once, those that would restrict init itself at the execve."""

from __future__ import annotations

import errno

from ocipy.errors import caused_by
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.plan.rlimits import RaiseRlimit, Rlimit, RlimitAtExec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(Rlimit)
def rlimit(init: Init, step: Rlimit) -> None:
    """Set one limit (prlimit(2)). 2**64 - 1 means unlimited."""
    set_rlimit(0, step.name, step.resource, step.soft, step.hard)


@carries_out(RaiseRlimit)
def raise_rlimit(init: Init, step: RaiseRlimit) -> None:
    """Raise a hard limit that is too low, while we have the privilege. At the execve we may only lower it."""
    raise_to(0, step.name, step.resource, step.hard)


@carries_out(RlimitAtExec)
def rlimit_at_exec(init: Init, step: RlimitAtExec) -> None:
    """Save a limit for the exec, since it would restrict init itself. Sets init.limits.

    An earlier step has made sure that it is permitted.
    """
    init.limits += ((step.resource, step.soft, step.hard),)


def raise_to(pid: int, name: str, resource: int, hard: int) -> None:
    """Raise a process's hard limit to this, if it is lower. pid: one of our processes, 0 for this one. Raises Error."""
    soft, current = _kernel.prlimit(pid, resource, -1, -1)
    if current < hard:
        set_rlimit(pid, name, resource, soft, hard)


def set_rlimit(pid: int, name: str, resource: int, soft: int, hard: int) -> None:
    """Set a limit (prlimit(2)). pid: one of our processes, 0 for this one. Raises Error."""
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


def _hard_limit(pid: int, resource: int) -> int:
    """Return the hard limit, -1 if we may not even read it."""
    try:
        return _kernel.prlimit(pid, resource, -1, -1)[1]
    except OSError:
        return -1

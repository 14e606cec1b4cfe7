"""process.rlimits on the host: set on the init process by its pid (prlimit(2))."""

from __future__ import annotations

import errno

from ocipy.errors import Error
from ocipy.linux import _kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.host.context import HostRun


def rlimit(run: HostRun, *, name: str, resource: int, soft: int, hard: int) -> None:
    """prlimit(2). 2**64 - 1 means unlimited."""
    set_rlimit(run.pid, name, resource, soft, hard)


def set_rlimit(pid: int, name: str, resource: int, soft: int, hard: int) -> None:
    """prlimit(2) on one of our processes. Raises Error."""
    try:
        _kernel.prlimit(pid, resource, soft, hard)
    except OSError as error:
        hint = ""
        current = _hard_limit(pid, resource)
        if error.errno == errno.EPERM and current < 0:
            hint = "the process is in another's user namespace, where this needs CAP_SYS_RESOURCE"
        elif error.errno == errno.EPERM:
            hint = f"the hard limit is {current}, and raising it needs CAP_SYS_RESOURCE, which the runtime lacks"
            if hard <= current:
                hint = "the runtime lacks CAP_SYS_RESOURCE"
            elif name == "RLIMIT_NOFILE":
                hint += "; or it is above /proc/sys/fs/nr_open"
        raise Error(f"cannot set {name} to {soft}:{hard}", errno=error.errno or 0, hint=hint) from None


def raise_rlimit(run: HostRun, *, name: str, resource: int, hard: int) -> None:
    """Raise a hard limit that is lower: init, which will lack the privilege, then lowers it itself (rlimit_at_exec)."""
    soft, current = _kernel.prlimit(run.pid, resource, -1, -1)
    if current < hard:
        set_rlimit(run.pid, name, resource, soft, hard)


def _hard_limit(pid: int, resource: int) -> int:
    """Return the hard limit, -1 if we may not even ask."""
    try:
        return _kernel.prlimit(pid, resource, -1, -1)[1]
    except OSError:
        return -1


ACTIONS: dict[str, Callable[..., None]] = {
    "raise_rlimit": raise_rlimit,
    "rlimit": rlimit,
}

"""process.rlimits that init may not set itself in a user namespace: the host sets them by its pid (prlimit(2))."""

from __future__ import annotations

from ocipy.host.context import carries_out
from ocipy.init.rlimits import raise_to, set_rlimit
from ocipy.plan.rlimits import RaiseRlimitFromHost, RlimitFromHost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(RlimitFromHost)
def rlimit_from_host(run: HostRun, step: RlimitFromHost) -> None:
    """Set one limit (prlimit(2)). 2**64 - 1 means unlimited."""
    set_rlimit(run.pid, step.name, step.resource, step.soft, step.hard)


@carries_out(RaiseRlimitFromHost)
def raise_rlimit_from_host(run: HostRun, step: RaiseRlimitFromHost) -> None:
    """Raise a hard limit that is too low. Init will lack the privilege for that, but may lower it (rlimit_at_exec)."""
    raise_to(run.pid, step.name, step.resource, step.hard)

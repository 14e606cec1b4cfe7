"""The host lane's side of an init process that joins a pid namespace only after making its root."""

from __future__ import annotations

from ocipy.host.context import carries_out
from ocipy.host.lane import adopt
from ocipy.plan.lane import Adopt
from ocipy.plan.pid_namespace import AdoptInit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(AdoptInit)
def adopt_init(run: HostRun, step: AdoptInit) -> None:
    """Continue with the child that init has forked in the pid namespace, and reap init."""
    run.stage = run.pid
    adopt(run, Adopt())

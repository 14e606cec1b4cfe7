"""process.rlimits that would restrict init itself: the execve sets them."""

from __future__ import annotations

from ocipy.init.context import carries_out
from ocipy.plan.rlimits import RlimitAtExec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(RlimitAtExec)
def rlimit_at_exec(init: Init, step: RlimitAtExec) -> None:
    """Keep a limit for the moment of the exec, since it would restrict init itself. The host has checked that it is
    permitted. Sets init.limits."""
    init.limits += ((step.resource, step.soft, step.hard),)

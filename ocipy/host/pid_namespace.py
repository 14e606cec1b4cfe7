"""The host lane's side of an init that enters the joined pid namespace only after making its root."""

from __future__ import annotations

from ocipy.host.lane import adopt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.host.context import HostRun


def adopt_init(run: HostRun) -> None:
    """Continue with the child that init has forked in the pid namespace, and reap init."""
    run.stage = run.pid
    adopt(run)


ACTIONS: dict[str, Callable[..., None]] = {"adopt_init": adopt_init}

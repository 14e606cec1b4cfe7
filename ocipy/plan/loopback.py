"""The loopback interface of a new network namespace."""

from __future__ import annotations

from ocipy.plan.model import InitStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner


class Loopback(InitStep):
    """Bring the interface up."""

    words = "lo up"


def plan_loopback(planner: Planner) -> None:
    """Bring lo up in a new network namespace. The owner of a joined one sets it up."""
    if "network" in planner.namespaces.new:
        planner.in_init(Loopback("/linux/namespaces"))

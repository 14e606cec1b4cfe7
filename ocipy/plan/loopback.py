"""The loopback interface of a new network namespace."""

from __future__ import annotations

from ocipy.plan.namespaces import new_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan


def plan_loopback(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Bring lo up in a new network namespace. The owner of a joined one sets it up."""
    if "network" in new_kinds(config):
        plan.in_init("loopback", "/linux/namespaces")

"""The session keyring of the container (keyrings(7))."""

from __future__ import annotations

from ocipy.plan.fields import process_of
from ocipy.plan.model import InitStep, phrase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner


class Keyring(InitStep):
    """Join the session keyring of that name, creating it with the SELinux label if there is one."""

    name: str
    in_user_namespace: bool
    label: str

    def describe(self) -> str:
        return phrase("join", self.name)


def plan_keyring(planner: Planner) -> None:
    """Leave the caller's keys, unless --no-new-keyring keeps them."""
    config, options = planner.config, planner.options
    if options.no_new_keyring:
        return
    label = process_of(config).get("selinuxLabel") or ""
    planner.in_init(
        Keyring(
            name="_ses." + options.container_id,
            in_user_namespace="user" in planner.namespaces.new,
            label=label if planner.host.selinux else "",
        )
    )

"""process.apparmorProfile and process.selinuxLabel: a requested confinement that cannot be applied is an error."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.plan.fields import process_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan

UNCONFINED = "unconfined"


def plan_labels(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Set what the next exec takes on; so no hook may run in init between this and the command's exec."""
    process = process_of(config)
    profile = process.get("apparmorProfile")
    if profile:
        pointer = "/process/apparmorProfile"
        if host.apparmor:
            plan.in_init("apparmor", pointer, profile=profile)
        elif profile != UNCONFINED:
            raise Error(
                f"the profile {profile} cannot be applied: the kernel runs without AppArmor",
                pointer=pointer,
                hint="remove the profile, or enable AppArmor on the host",
            )
    label = process.get("selinuxLabel")
    if label:
        pointer = "/process/selinuxLabel"
        if not host.selinux:
            raise Error(
                f"the label {label} cannot be applied: the kernel runs without SELinux",
                pointer=pointer,
                hint="remove the label, or enable SELinux on the host",
            )
        plan.in_init("selinux", pointer, label=label)

"""process.apparmorProfile and process.selinuxLabel: a requested confinement that cannot be applied is an error."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.plan.fields import process_of
from ocipy.plan.model import InitStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner

UNCONFINED = "unconfined"


class Apparmor(InitStep):
    """Have the next exec apply the profile."""

    profile: str

    def describe(self) -> str:
        return self.profile + ", from the exec on"


class Selinux(InitStep):
    """Have the next exec apply the label."""

    label: str

    def describe(self) -> str:
        return self.label + ", from the exec on"


def plan_labels(planner: Planner) -> None:
    """Set what the next exec applies. From here to the command's exec, no hook may run in init."""
    host = planner.host
    process = process_of(planner.config)
    profile = process.get("apparmorProfile")
    if profile:
        pointer = "/process/apparmorProfile"
        if host.apparmor:
            planner.in_init(Apparmor(pointer, profile=profile))
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
        planner.in_init(Selinux(pointer, label=label))

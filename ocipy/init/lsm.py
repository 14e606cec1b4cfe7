"""process.apparmorProfile and process.selinuxLabel: written to /proc/self/attr on our own procfs, for the next exec.

Through the container's /proc, a write could end up in another file (CVE-2019-16884, CVE-2025-52881). We read back what
we wrote.
"""

from __future__ import annotations

import errno

from ocipy.errors import Error, reported_as
from ocipy.init.context import carries_out
from ocipy.linux import procfs
from ocipy.plan.lsm import Apparmor, Selinux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

APPARMOR = "attr/apparmor/exec"  # since Linux 5.1
SHARED = "attr/exec"


@carries_out(Apparmor)
def apparmor(init: Init, step: Apparmor) -> None:
    """Confine the command with this profile. Raises Error if it is not loaded."""
    path = APPARMOR
    with reported_as(
        f"cannot apply the AppArmor profile {step.profile}",
        hint={errno.ENOENT: "the profile is not loaded: apparmor_parser(8)"},
    ):
        try:
            procfs.write(init.proc, path, b"exec " + step.profile.encode())
        except FileNotFoundError:
            path = SHARED
            procfs.write(init.proc, path, b"exec " + step.profile.encode())
    # "NAME (MODE)". The kernel reports namespaces and stacked profiles in a different form from what we wrote.
    told = procfs.read(init.proc, path).rstrip(b"\n\0").split(b" (")[0].decode("utf-8", "replace")
    if told != step.profile and not (told and (":" in step.profile or "//&" in told)):
        raise Error(f"the AppArmor profile {step.profile} was not applied: the kernel reports {told or 'nothing'}")


@carries_out(Selinux)
def selinux(init: Init, step: Selinux) -> None:
    """Run the command under this label."""
    with reported_as(
        f"cannot apply the SELinux label {step.label}", hint={errno.EINVAL: "the policy does not define the label"}
    ):
        procfs.write(init.proc, SHARED, step.label.encode())
    told = procfs.read(init.proc, SHARED).rstrip(b"\n\0").decode("utf-8", "replace")
    if told != step.label:
        raise Error(f"the SELinux label {step.label} was not applied: the kernel reports {told or 'nothing'}")

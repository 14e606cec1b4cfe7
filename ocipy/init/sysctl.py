"""Kernel parameters of the container's namespaces, written through a procfs that no mount of the container covers."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import reported_as
from ocipy.init.context import carries_out
from ocipy.linux import procfs
from ocipy.plan.sysctl import Sysctl, SysctlDone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(Sysctl)
def sysctl(init: Init, step: Sysctl) -> None:
    """Write one parameter. path: below /proc/sys."""
    write_parameter(init.fds.sysctl, step.path, step.value)


def write_parameter(root: int, path: str, value: str) -> None:
    """Write one parameter, for both lanes. root: of a procfs with /proc/sys. Raises Error."""
    with reported_as(
        f"cannot set {path} to {value!r}",
        hint={
            errno.ENOENT: "the kernel does not have this parameter, or its module is not loaded",
            errno.EINVAL: "the kernel does not accept this value",
            errno.EACCES: "it may not be changed in a user namespace",
            errno.EPERM: "it may not be changed in a user namespace",
            errno.EXDEV: "something is mounted over /proc/sys, and the runtime may not mount its own procfs",
        },
    ):
        procfs.write(root, "sys/" + path, value.encode())


@carries_out(SysctlDone)
def sysctl_done(init: Init, step: SysctlDone) -> None:
    """Close the procfs with /proc/sys, which would be dangerous to leak."""
    posix.close(init.fds.sysctl)
    init.fds.sysctl = -1

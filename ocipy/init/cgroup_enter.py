"""Entering the v1 hierarchies, which init does first."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import caused_by
from ocipy.init.context import carries_out
from ocipy.plan.cgroup_enter import CgroupEnter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(CgroupEnter)
def cgroup_enter(init: Init, step: CgroupEnter) -> None:
    """Write "0" to each `tasks` file that the host opened, and close it (CVE-2024-21626).

    skip: the hierarchy that init enters later, or "".

    The kernel checks the privileges of the process that opened the file. Since init moves itself, the kernel need not
    take the lock that blocks all forks, whose grace period would take longer than most of a create (Cgroup.open_tasks).
    """
    for hierarchy in list(init.fds.cgroups):
        if hierarchy == step.skip:
            continue
        fd = init.fds.cgroups.pop(hierarchy)
        try:
            posix.write(fd, b"0")
        except OSError as error:
            hint = {errno.ENOSPC: "the cpuset has no CPUs or memory nodes"}
            raise caused_by(error, f"cannot join the cgroup of {hierarchy}", hint=hint) from None
        posix.close(fd)

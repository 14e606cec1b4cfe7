"""Rarely used concerns: their modules are imported only for a config that uses them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.plan.model import Planner

# The members of the config that ask for a concern. Without any of them, it has nothing to plan.
HOOKS = ("/hooks",)
INTEL_RDT = ("/linux/intelRdt",)
LSM = ("/process/apparmorProfile", "/process/selinuxLabel")
NAMESPACE_CONTENTS = ("/linux/timeOffsets", "/linux/netDevices")
SCHEDULING = ("/process/scheduler", "/process/ioPriority", "/linux/personality", "/linux/memoryPolicy")
SECCOMP = ("/linux/seccomp",)
SYSCTL = ("/linux/sysctl",)
TERMINAL = ("/process/terminal",)


def uses(planner: Planner, concern: tuple[str, ...]) -> bool:
    """Whether the config asks for a concern above. An empty member does not, except for intelRdt."""
    for pointer in concern:
        found: Any = planner.config
        for name in pointer[1:].split("/"):
            found = found.get(name) if found else None
        if found or (found is not None and concern is INTEL_RDT):
            return True
    return False

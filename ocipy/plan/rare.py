"""Rarely used concerns: their modules are imported only for a config that uses them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.plan.model import Planner

# The members of the config that ask for a concern, each with its object. Without any of them, it has nothing to plan.
HOOKS = (("hooks", ""),)
INTEL_RDT = (("linux", "intelRdt"),)
LSM = (("process", "apparmorProfile"), ("process", "selinuxLabel"))
NAMESPACE_CONTENTS = (("linux", "timeOffsets"), ("linux", "netDevices"))
SCHEDULING = (
    ("process", "scheduler"),
    ("process", "ioPriority"),
    ("linux", "personality"),
    ("linux", "memoryPolicy"),
)
SECCOMP = (("linux", "seccomp"),)
SYSCTL = (("linux", "sysctl"),)
TERMINAL = (("process", "terminal"),)


def uses(planner: Planner, concern: tuple[tuple[str, str], ...]) -> bool:
    """Whether the config asks for a concern above. An empty member does not, except for intelRdt."""
    config: Any = planner.config
    for name, member in concern:
        found = config.get(name)
        if found and (not member or found.get(member) or (concern is INTEL_RDT and found.get(member) is not None)):
            return True
    return False

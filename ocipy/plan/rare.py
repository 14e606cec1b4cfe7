"""Rarely used concerns: their modules are imported only for a config that uses them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.config.types import Config

    Concern = tuple[tuple[str, str], ...]

_CONCERNS: dict[str, dict[str, Concern]] = {}  # by object and member


def _concern(*members: tuple[str, str]) -> Concern:
    """Declare a concern by the members of the config that ask for it, each with its object. Without any of them, it has
    nothing to plan."""
    for name, member in members:
        if _CONCERNS.setdefault(name, {}).setdefault(member, members) is not members:
            raise ValueError(f"another concern is asked for by the same member: {member}")
    return members


HOOKS = _concern(("hooks", ""))
INTEL_RDT = _concern(("linux", "intelRdt"))
LSM = _concern(("process", "apparmorProfile"), ("process", "selinuxLabel"))
NAMESPACE_CONTENTS = _concern(("linux", "timeOffsets"), ("linux", "netDevices"))
SCHEDULING = _concern(
    ("process", "scheduler"),
    ("process", "ioPriority"),
    ("linux", "personality"),
    ("linux", "memoryPolicy"),
)
SECCOMP = _concern(("linux", "seccomp"))
SYSCTL = _concern(("linux", "sysctl"))
TERMINAL = _concern(("process", "terminal"))


def asked_for(config: Config) -> list[Concern]:
    """Return which of the concerns above the config asks for. An empty member does not, except for intelRdt."""
    document: Any = config
    found = []
    for name, concerns in _CONCERNS.items():
        given = document.get(name)
        if not given:
            continue
        if "" in concerns:
            found.append(concerns[""])
        for member in concerns.keys() & given.keys():
            concern = concerns[member]
            if given[member] or (concern is INTEL_RDT and given[member] is not None):
                found.append(concern)
    return found

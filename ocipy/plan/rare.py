"""The concerns that most configs have not: they are imported, and asked for their steps, only where one has."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan

# Concerns that plan nothing unless one of these members is there.
RARE = {
    "hooks": ("/hooks",),
    "intel_rdt": ("/linux/intelRdt",),
    "lsm": ("/process/apparmorProfile", "/process/selinuxLabel"),
    "namespace_contents": ("/linux/timeOffsets", "/linux/netDevices"),
    "scheduling": ("/process/scheduler", "/process/ioPriority", "/linux/personality", "/linux/memoryPolicy"),
    "seccomp": ("/linux/seccomp",),
    "sysctl": ("/linux/sysctl",),
    "terminal": ("/process/terminal",),
}


# Those for which an empty member says something.
EVEN_EMPTY = ("intel_rdt",)


def rare(concern: str, function: str, plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Call a function of a concern of RARE, if the config has what it is about. Raises Error, as that does."""
    members = [_member(config, pointer) for pointer in RARE[concern]]
    if any(members) or (concern in EVEN_EMPTY and members != [None]):
        name = "ocipy.plan." + concern
        __import__(name)
        getattr(sys.modules[name], function)(plan, config, host, options)


def _member(config: Config, pointer: str) -> object:
    found: Any = config
    for name in pointer.split("/")[1:]:
        found = found.get(name) if found else None
    return found

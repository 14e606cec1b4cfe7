"""Rarely used concerns: imported, and asked for their steps, only if the config uses them."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.config.types import Config
    from ocipy.plan.model import Planner

# Concerns that plan nothing unless one of these members exists.
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


# Members that matter even if they are empty.
EVEN_EMPTY = ("intel_rdt",)


def rare(concern: str, function: str, planner: Planner) -> None:
    """Call a function of a concern in RARE, if the config contains one of its members. Raises the function's Error."""
    members = [_member(planner.config, pointer) for pointer in RARE[concern]]
    if any(members) or (concern in EVEN_EMPTY and members != [None]):
        name = "ocipy.plan." + concern
        __import__(name)
        getattr(sys.modules[name], function)(planner)


def _member(config: Config, pointer: str) -> object:
    found: Any = config
    for name in pointer.split("/")[1:]:
        found = found.get(name) if found else None
    return found

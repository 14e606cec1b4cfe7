"""What members of a config.json were called before version 1.0 of the specification, and what they are called now.

Cold: for `ocipy validate`, which reports each once for all elements of an array. From the specification's releases,
0.1.0 to 1.0.0: the ChangeLog of github.com/opencontainers/runtime-spec.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Findings = list[tuple[str, str]]
Known = tuple[str, Iterable[str]]

REQUIRED = {"destination": "path", "names": "name", "ociVersion": "version"}
"""Required members, and their old names."""

MOVED = {
    "/linux/apparmorProfile": "process.apparmorProfile",
    "/linux/capabilities": "process.capabilities",
    "/linux/devices/*/permissions": "access, in linux.resources.devices",
    "/linux/gidMapping": "gidMappings",
    "/linux/noNewPrivileges": "process.noNewPrivileges",
    "/linux/resources/blockIO/blkioLeafWeight": "leafWeight",
    "/linux/resources/blockIO/blkioThrottleReadBpsDevice": "throttleReadBpsDevice",
    "/linux/resources/blockIO/blkioThrottleReadIOPSDevice": "throttleReadIOPSDevice",
    "/linux/resources/blockIO/blkioThrottleReadIopsDevice": "throttleReadIOPSDevice",
    "/linux/resources/blockIO/blkioThrottleWriteBpsDevice": "throttleWriteBpsDevice",
    "/linux/resources/blockIO/blkioThrottleWriteIOPSDevice": "throttleWriteIOPSDevice",
    "/linux/resources/blockIO/blkioThrottleWriteIopsDevice": "throttleWriteIOPSDevice",
    "/linux/resources/blockIO/blkioWeight": "weight",
    "/linux/resources/blockIO/blkioWeightDevice": "weightDevice",
    "/linux/resources/cpu/rtPeriod": "realtimePeriod",
    "/linux/resources/cpu/rtRuntime": "realtimeRuntime",
    "/linux/resources/disableOOMKiller": "linux.resources.memory.disableOOMKiller",
    "/linux/resources/network/classId": "classID",
    "/linux/resources/oomScoreAdj": "process.oomScoreAdj",
    "/linux/rlimits": "process.rlimits",
    "/linux/seccomp/syscalls/*/name": "names, a list",
    "/linux/selinuxProcessLabel": "process.selinuxLabel",
    "/linux/uidMapping": "uidMappings",
    "/mounts/*/name": "",
    "/mounts/*/path": "destination",
    "/platform": "",
    "/version": "ociVersion",
}
"""Members that no longer exist, and what replaces them; "" if nothing does."""

CHANGED: dict[tuple[str, type], str] = {
    ("/mounts/*/options", str): "options were one string; now they are a list of strings",
    ("/process/capabilities", list): "was a list; it is now an object with the lists bounding, effective, permitted, "
    "inheritable and ambient",
}
"""Members whose type has changed."""


def wildcard(pointer: str) -> str:
    """The pointer with "*" in place of indices."""
    return re.sub(r"/\d+(?=/|$)", "/*", pointer)


def broken_once(config: Any, broken: Findings) -> Findings:
    """The schema's findings, but those about a member's old name or type only once, with a count."""
    groups: dict[tuple[str, str], int] = {}
    for pointer, text in broken:
        once = _changed(config, pointer) or _renamed(pointer, text) or (pointer, text)
        groups[once] = groups.get(once, 0) + 1
    return [(pointer, _counted(text, count)) for (pointer, text), count in groups.items()]


def unknown_once(unknown: dict[str, Known], told: list[str]) -> tuple[Findings, dict[str, Known]]:
    """Split unknown members by pointer: findings about old ones, each reported once; and the others.

    told: the texts of errors, which may already say the same.
    """
    groups: dict[str, int] = {}
    others = {}
    for pointer, known in unknown.items():
        general = wildcard(pointer)
        if general in MOVED:
            groups[general] = groups.get(general, 0) + 1
        else:
            others[pointer] = known
    found = []
    for general, count in groups.items():
        if any(text.startswith(f"the member {MOVED[general].partition(',')[0]} is required") for text in told):
            continue
        array, _, name = general.partition("/*/")
        replacement = MOVED[general]
        text = f"is now {replacement}; the old name is ignored" if replacement else "was removed in 1.0, and is ignored"
        found.append((array, _counted(f"{name} {text}" if name else text, count)))
    return found, others


def _counted(text: str, count: int) -> str:
    return f"{text} ({count} times)" if count > 1 else text


def _changed(config: Any, pointer: str) -> tuple[str, str] | None:
    value = at(config, pointer)
    text = CHANGED.get((wildcard(pointer), type(value)))
    return (wildcard(pointer).partition("/*")[0], text) if text else None


def _renamed(pointer: str, text: str) -> tuple[str, str] | None:
    """A required member that is present under its old name (wording.py says so)."""
    return (wildcard(pointer).partition("/*")[0], text) if "; it was called " in text else None


def at(config: Any, pointer: str) -> Any:
    """The value at a pointer; None if there is none."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(config, dict):
            config = config.get(name)
        elif isinstance(config, list) and name.isdigit() and int(name) < len(config):
            config = config[int(name)]
        else:
            return None
    return config

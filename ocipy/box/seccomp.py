"""Translates the seccomp profile of Debian's container packages into linux.seccomp of config.json.

The profile has Docker's and podman's form: rules that apply only with some capabilities or architectures, and each
architecture with its sub-architectures (containers-common, seccomp.json).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ocipy import Error
from ocipy.errors import reported_as

PROFILE = "/usr/share/containers/seccomp.json"
# By machine in uname(2): the profile's name.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "x86", "armv7l": "arm"}
NATIVE = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "i686": "SCMP_ARCH_X86",
    "armv7l": "SCMP_ARCH_ARM",
}

OTHER_PROFILES = (
    "Debian's is in golang-github-containers-common; --security-opt seccomp=FILE takes another, seccomp=unconfined none"
)


def load(path: str) -> dict[str, Any]:
    """The profile in a file, unchanged. Raises Error."""
    with reported_as("cannot read the seccomp profile", pointer=path, hint=OTHER_PROFILES):
        data = Path(path).read_bytes()
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Error(f"cannot read the seccomp profile: {error}", pointer=path, hint=OTHER_PROFILES) from None
    if not isinstance(document, dict):
        raise Error("the seccomp profile is not a JSON object", pointer=path)
    return document


def of_file(path: str, capabilities: Collection[str]) -> dict[str, Any]:
    """linux.seccomp from the profile in a file, for a process with these capabilities. Raises Error."""
    profile = load(path)
    try:
        return translate(profile, capabilities)
    except (KeyError, TypeError, AttributeError):  # the runtime checks the values
        raise Error(
            "the seccomp profile has neither the form of containers-common's nor that of config.json",
            pointer=path,
            hint=OTHER_PROFILES,
        ) from None


def translate(profile: Mapping[str, Any], capabilities: Collection[str], machine: str = "") -> dict[str, Any]:
    """linux.seccomp for a process with these capabilities. machine: uname(2)'s name; "" for this machine's.

    A profile already in the form of config.json stays unchanged. Raises KeyError, TypeError or AttributeError for a
    document of another form.
    """
    machine = machine or os.uname().machine
    made: dict[str, Any] = {"defaultAction": profile["defaultAction"], "syscalls": []}
    if profile.get("defaultErrnoRet") is not None:
        made["defaultErrnoRet"] = profile["defaultErrnoRet"]
    made["architectures"] = _architectures(profile, machine)
    for rule in profile.get("syscalls") or ():
        if _holds(rule, capabilities, ARCHITECTURES.get(machine, machine)):
            made["syscalls"].append(_rule(rule))
    return made


def _architectures(profile: Mapping[str, Any], machine: str) -> list[str]:
    if profile.get("architectures"):
        return list(profile["architectures"])
    native = NATIVE.get(machine, "")
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return [native] if native else []


def _holds(rule: Mapping[str, Any], capabilities: Collection[str], architecture: str) -> bool:
    """Whether the rule applies: its "includes" hold, and none of its "excludes"."""
    included, excluded = rule.get("includes") or {}, rule.get("excludes") or {}
    if any(name not in capabilities for name in included.get("caps") or ()):
        return False
    if included.get("arches") and architecture not in included["arches"]:
        return False
    if any(name in capabilities for name in excluded.get("caps") or ()):
        return False
    return architecture not in (excluded.get("arches") or ())


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"names": rule.get("names") or [rule["name"]], "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        made["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        made["args"] = [
            {name: one[name] for name in ("index", "value", "valueTwo", "op") if name in one} for one in rule["args"]
        ]
    return made

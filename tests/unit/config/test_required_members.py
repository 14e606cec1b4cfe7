"""If a REQUIRED member is missing, the error names its place."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from ocipy.config.check import check
from ocipy.config.semantic import errors
from ocipy.errors import Error
from ocipy.plan.build import build
from ocipy.plan.model import Host, Options
from tests.unit.documents import at, minimal, put

HOST = Host(cgroup_mode="v2", cgroup_controllers=("io", "memory", "hugetlb"))
OPTIONS = Options(container_id="c", bundle="/b", has_console=True)
DEVICE = {"major": 8, "minor": 0}
HOOK = {"path": "/hook"}
MAP = {"containerID": 0, "hostID": 1000, "size": 1}
RESOURCES = "/linux/resources"
SYSCALL = "/linux/seccomp/syscalls/0"

# An object for a place, and the members that are required there, with the line of the specification.
REQUIRED: list[tuple[str, Any, dict[str, str]]] = [
    ("", minimal(), {"ociVersion": "config.md 16", "root": "config.md 33"}),
    ("/root", {"path": "rootfs"}, {"path": "config.md 35"}),
    ("/mounts/0", {"destination": "/proc", "type": "proc"}, {"destination": "config.md 70"}),
    ("/process", {"cwd": "/", "args": ["x"]}, {"cwd": "config.md 248", "args": "config.md 252"}),
    ("/process/consoleSize", {"height": 1, "width": 2}, {"height": "config.md 246", "width": "config.md 247"}),
    (
        "/process/rlimits/0",
        {"type": "RLIMIT_CPU", "soft": 1, "hard": 2},
        {"type": "config.md 264", "soft": "config.md 272", "hard": "config.md 274"},
    ),
    ("/process/scheduler", {"policy": "SCHED_OTHER"}, {"policy": "config.md 310"}),
    ("/process/ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 1}, {"class": "config.md 341"}),
    ("/hooks/prestart/0", HOOK, {"path": "config.md 555"}),
    ("/hooks/createRuntime/0", HOOK, {"path": "config.md 565"}),
    ("/linux/namespaces/0", {"type": "mount"}, {"type": "config-linux.md 28"}),
    ("/linux/uidMappings/0", MAP, dict.fromkeys(MAP, "config-linux.md 88 to 90")),
    ("/linux/gidMappings/0", MAP, dict.fromkeys(MAP, "config-linux.md 88 to 90")),
    (
        "/linux/devices/0",
        {"type": "c", "path": "/dev/x", "major": 1, "minor": 2},
        {"type": "config-linux.md 132", "path": "134", "major": "137", "minor": "137"},
    ),
    (RESOURCES + "/devices/0", {"allow": False}, {"allow": "config-linux.md 409"}),
    (RESOURCES + "/blockIO/weightDevice/0", {**DEVICE, "weight": 10}, dict.fromkeys(DEVICE, "config-linux.md 533")),
    *(
        (
            f"{RESOURCES}/blockIO/throttle{kind}Device/0",
            {**DEVICE, "rate": 1},
            dict.fromkeys((*DEVICE, "rate"), "config-linux.md 542 to 550"),
        )
        for kind in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")
    ),
    (
        RESOURCES + "/hugepageLimits/0",
        {"pageSize": "2MB", "limit": 1},
        {"pageSize": "config-linux.md 608", "limit": "config-linux.md 614"},
    ),
    (
        RESOURCES + "/network/priorities/0",
        {"name": "eth0", "priority": 1},
        {"name": "config-linux.md 641", "priority": "config-linux.md 642"},
    ),
    ("/linux/memoryPolicy", {"mode": "MPOL_DEFAULT"}, {"mode": "config-linux.md 826"}),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}, {"defaultAction": "config-linux.md 885"}),
    (
        SYSCALL,
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"},
        {"names": "config-linux.md 946", "action": "config-linux.md 948"},
    ),
    (
        SYSCALL + "/args/0",
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": "config-linux.md 969", "value": "config-linux.md 970", "op": "config-linux.md 972"},
    ),
    ("/linux/personality", {"domain": "LINUX"}, {"domain": "config-linux.md 1108"}),
]
CASES = [(place, whole, member) for place, whole, members in REQUIRED for member in members]


def with_value(place: str, value: Any) -> Any:
    """A config that is valid except for the object at this place."""
    document: Any = {**minimal(), "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}}
    if place == "":
        return value
    if place.startswith(SYSCALL) and place != SYSCALL:
        document = put(document, "/linux/seccomp/syscalls", [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}])
    if place.startswith("/process/consoleSize"):
        document["process"]["terminal"] = True
    if place.endswith("/0"):
        place, value = place[:-2], [value]
    return put(document, place, value)


def complaint(document: Any) -> str:
    """The place in create's error; "" without an error."""
    failure = check(document)
    if failure is not None:
        return f"{failure[0]}: {failure[1]}"
    broken = errors(document)
    if broken:
        return f"{broken[0][0]}: {broken[0][1]}"
    try:
        build(document, HOST, OPTIONS)
    except Error as error:
        return f"{error.pointer}: {error.what}"
    return ""


@pytest.mark.parametrize(("place", "whole", "member"), CASES, ids=[f"{place}/{member}" for place, _, member in CASES])
def test_a_required_member_that_is_missing(place: str, whole: Any, member: str) -> None:
    document = with_value(place, deepcopy(whole))
    del at(document, place)[member]
    said = complaint(document)
    assert said.startswith((place + ":", f"{place}/{member}:")), said
    assert member in said


@pytest.mark.parametrize(("place", "whole", "member"), CASES, ids=[f"{place}/{member}" for place, _, member in CASES])
def test_it_is_only_that_member(place: str, whole: Any, member: str) -> None:
    """With the member, the schema accepts the document: otherwise the test above could not fail."""
    assert check(with_value(place, deepcopy(whole))) is None

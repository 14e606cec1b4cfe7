"""What only deserves a warning, and members that look misspelt."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.config.advice import warnings
from ocipy.config.misspelt import misspelt, nearest, unknown_members
from tests.unit.documents import put, whole

ADVICE = [
    ("/process", None, "/process"),
    ("/hooks", {"prestart": [{"path": "/x"}]}, "/hooks/prestart"),
    ("/windows", {}, "/windows"),
    ("/process/capabilities", {"bounding": ["CAP_SYS_ADMINS"]}, "/process/capabilities/bounding/0"),
    ("/process/capabilities", {"effective": ["CAP_KILL"]}, "/process/capabilities/effective/0"),
    (
        "/process/capabilities",
        {"ambient": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "/process/capabilities/ambient/0",
    ),
    ("/process/consoleSize", {"height": 1, "width": 1}, "/process/consoleSize"),
    ("/mounts", [{"destination": "x", "type": "tmpfs"}], "/mounts/0/destination"),
    ("/mounts", [{"destination": "/x"}], "/mounts/0/type"),
    ("/linux/resources", {"memory": {"kernel": 1}}, "/linux/resources/memory/kernel"),
    ("/linux/intelRdt", {"l3CacheSchema": "0=f"}, "/linux/intelRdt/l3CacheSchema"),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_KILL"}, "/linux/seccomp/syscalls"),
    (
        "/linux/seccomp",
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]},
        "/linux/seccomp/syscalls",
    ),
    ("/linux/cgroupsPath", "system.slice:ocipy:web", "/linux/cgroupsPath"),
    ("/mounts", [{"destination": "/x", "source": "/", "type": "bind"}], "/mounts/0/options"),
    ("/vm", {}, "/vm"),
]


@pytest.mark.parametrize(("place", "value", "pointer"), ADVICE)
def test_advice(place: str, value: Any, pointer: str) -> None:
    assert [found for found, _ in warnings(put(whole(), place, value))] == [pointer]


def test_advice_on_devices() -> None:
    device = {"type": "c", "path": "/dev/a", "major": 1, "minor": 3}
    devices = [device, {**device, "path": "/dev/b"}, {**device, "minor": 5}]
    config = put(whole(), "/linux/devices", devices)
    assert list(warnings(config)) == [
        ("/linux/devices/1", "is the same device as /linux/devices/0"),
        ("/linux/devices/2/path", "is also the path of /linux/devices/0"),
    ]


def test_advice_on_mappings_without_idmap() -> None:
    ids = [{"containerID": 0, "hostID": 0, "size": 1}]
    mount = {"destination": "/x", "source": "/y", "options": ["bind"], "uidMappings": ids, "gidMappings": ids}
    assert [pointer for pointer, _ in warnings(put(whole(), "/mounts", [mount]))] == ["/mounts/0/options"]


def test_close_names_are_offered() -> None:
    config = put(whole(), "/process/capabilities", {"bounding": ["CAP_SYS_ADMINS", "sys-chroot", "CAP_FLY"]})
    assert [text for _, text in warnings(config)] == [
        "CAP_SYS_ADMINS is not a Linux capability; did you mean CAP_SYS_ADMIN?",
        "sys-chroot is not a Linux capability",
        "CAP_FLY is not a Linux capability",
    ]


@pytest.mark.parametrize(
    ("place", "value", "pointer", "meant"),
    [
        ("/process/argz", [], "/process/argz", "args"),
        ("/process/noNewPrivilege", True, "/process/noNewPrivilege", "noNewPrivileges"),
        ("/process/no_new_privileges", True, "/process/no_new_privileges", "noNewPrivileges"),
        ("/linux/resources/devices", [{"allow": True, "accces": ""}], "/linux/resources/devices/0/accces", "access"),
        ("/linux/netDevices", {"eth0": {"nmae": "x"}}, "/linux/netDevices/eth0/nmae", "name"),
        ("/Linux", {}, "/Linux", "linux"),
        ("/linux/seccom", {}, "/linux/seccom", "seccomp"),
        ("/linux/resources/memory", {"limits": 1}, "/linux/resources/memory/limits", "limit"),
        ("/process/user", {"id": 1}, "/process/user/id", ""),
        ("/linux/resources/cpu", {"rtPeriod": 1}, "/linux/resources/cpu/rtPeriod", ""),
        ("/vendor~/x", 1, "/vendor~0", ""),
        ("/" + "x" * 100_000, 1, "/" + "x" * 100_000, ""),
    ],
)
def test_an_unknown_member_that_looks_like_a_known_one_is_reported(
    place: str, value: Any, pointer: str, meant: str
) -> None:
    config = put(whole(), place.replace("~/", "~0/"), value)
    [(found, name, known)] = unknown_members(config)
    assert (found, nearest(name, known)) == (pointer, meant)
    assert misspelt(config) == ([(pointer, f"is unknown and ignored; did you mean {meant}?")] if meant else [])
    assert [] == [place for place, _ in misspelt(put(whole(), "/windows/args", 1))]

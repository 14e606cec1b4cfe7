"""linux.devices and the default devices: from config to steps."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.plan import devices
from ocipy.plan.model import Host, Options, Plan, Step

OPTIONS = Options(container_id="c", bundle="/b")
DEFAULT_PATHS = ["/dev/null", "/dev/random", "/dev/full", "/dev/tty", "/dev/zero", "/dev/urandom"]


def planned(
    *entries: Any, namespaces: tuple[str, ...] = ("mount",), mounts: Any = (), host: Host | None = None
) -> Plan:
    config: Any = {
        "mounts": mounts,
        "linux": {"devices": list(entries), "namespaces": [{"type": kind} for kind in namespaces]},
    }
    plan = Plan()
    devices.plan_devices(plan, config, host or Host(), OPTIONS)
    return plan


def fuse(**members: Any) -> dict[str, Any]:
    return {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, **members}


def test_the_default_devices_and_the_links() -> None:
    steps = planned().init
    assert [step.args.get("path") for step in steps[:-1]] == DEFAULT_PATHS
    assert steps[0] == Step(
        "device",
        "",
        {
            "path": "/dev/null",
            "kind": "c",
            "major": 1,
            "minor": 3,
            "mode": 0o666,
            "uid": 0,
            "gid": 0,
            "bind": False,
        },
    )
    assert steps[-1] == Step("device_links", "", {})


def test_a_device_of_the_config() -> None:
    # podman gives st_mode: 0o20640.
    step = planned(fuse(fileMode=0o20640, uid=5, gid=6)).init[-2]
    assert step.pointer == "/linux/devices/0"
    assert step.args == {
        "path": "/dev/fuse",
        "kind": "c",
        "major": 10,
        "minor": 229,
        "mode": 0o640,
        "uid": 5,
        "gid": 6,
        "bind": False,
    }


@pytest.mark.parametrize(("given", "mode"), [(None, 0o666), (0, 0), (0o4777, 0o4777)])
def test_modes(given: int | None, mode: int) -> None:
    assert planned(fuse(fileMode=given)).init[-2].args["mode"] == mode


@pytest.mark.parametrize(("kind", "expected"), [("c", "c"), ("u", "c"), ("b", "b"), ("p", "p")])
def test_kinds(kind: str, expected: str) -> None:
    assert planned(fuse(type=kind)).init[-2].args["kind"] == expected


def test_a_fifo_needs_no_numbers_and_is_never_bound() -> None:
    step = planned({"path": "/pipe", "type": "p"}, namespaces=("mount", "user")).init[-2]
    assert (step.args["major"], step.args["minor"], step.args["bind"]) == (0, 0, False)


def test_a_device_of_the_config_replaces_a_default() -> None:
    steps = planned({"path": "/dev//null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}).init
    nulls = [step for step in steps if step.args.get("path") == "/dev/null"]
    assert [step.args["mode"] for step in nulls] == [0o600]


def test_bound_in_a_user_namespace() -> None:
    assert all(step.args["bind"] for step in planned(fuse(), namespaces=("mount", "user")).init[:-1])
    assert all(step.args["bind"] for step in planned(fuse(), host=Host(in_user_namespace=True)).init[:-1])


def test_nothing_is_made_in_a_dev_of_the_hosts() -> None:
    mounts = [{"destination": "/dev", "source": "/dev", "options": ["rbind"]}]
    steps = planned(fuse(), fuse(path="/srv/fuse"), mounts=mounts).init
    assert [(step.action, step.args["path"]) for step in steps] == [
        ("existing_device", "/dev/fuse"),
        ("device", "/srv/fuse"),
    ]


def test_ptmx_is_always_the_link() -> None:
    assert [step.action for step in planned(fuse(path="/dev/ptmx")).init] == ["device"] * 6 + ["device_links"]


@pytest.mark.parametrize(
    ("device", "pointer"),
    [
        (fuse(path="dev/fuse"), "/linux/devices/0/path"),
        (fuse(path="/"), "/linux/devices/0/path"),
        (fuse(path="/a\0"), "/linux/devices/0/path"),
        (fuse(type="x"), "/linux/devices/0/type"),
        (fuse(major=None), "/linux/devices/0"),
        (fuse(minor=-1), "/linux/devices/0/minor"),
        (fuse(major=4096), "/linux/devices/0/major"),
        (fuse(uid=-1), "/linux/devices/0/uid"),
        (fuse(gid=1 << 32), "/linux/devices/0/gid"),
    ],
)
def test_what_is_refused(device: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Error) as caught:
        planned(device)
    assert caught.value.pointer == pointer

"""linux.devices and the default devices: from config to steps."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.plan import devices
from ocipy.plan.devices import Device, DeviceLinks, DeviceNode
from ocipy.plan.model import Host, Options, Plan, Planner
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="c", bundle="/b")
DEFAULT_PATHS = ["/dev/null", "/dev/random", "/dev/full", "/dev/tty", "/dev/zero", "/dev/urandom"]


def planned(
    *entries: Any, namespaces: tuple[str, ...] = ("mount",), mounts: Any = (), host: Host | None = None
) -> Plan:
    config: Any = {
        "mounts": mounts,
        "linux": {"devices": list(entries), "namespaces": [{"type": kind} for kind in namespaces]},
    }
    planner = Planner(config, host or Host(), OPTIONS)
    plan = planner.plan
    devices.plan_devices(planner)
    return plan


def fuse(**members: Any) -> dict[str, Any]:
    return {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, **members}


def test_the_default_devices_and_the_links() -> None:
    steps = planned().init
    assert [vars(step).get("path") for step in steps[:-1]] == DEFAULT_PATHS
    assert steps[0] == Device(
        "/linux/devices",
        name="",
        path="/dev/null",
        kind="c",
        major=1,
        minor=3,
        mode=0o666,
        uid=0,
        gid=0,
        bind=False,
        asked=False,
    )
    assert steps[-1] == DeviceLinks("/linux/devices")


def test_a_device_of_the_config() -> None:
    # podman gives st_mode: 0o20640.
    step = planned(fuse(fileMode=0o20640, uid=5, gid=6)).init[-2]
    assert step.pointer == "/linux/devices/0"
    assert vars(step) == {
        "name": "",
        "path": "/dev/fuse",
        "kind": "c",
        "major": 10,
        "minor": 229,
        "mode": 0o640,
        "uid": 5,
        "gid": 6,
        "bind": False,
        "asked": True,
    }


@pytest.mark.parametrize(("given", "mode"), [(None, 0o666), (0, 0), (0o4777, 0o4777)])
def test_modes(given: int | None, mode: int) -> None:
    assert vars(planned(fuse(fileMode=given)).init[-2])["mode"] == mode


@pytest.mark.parametrize(("kind", "expected"), [("c", "c"), ("u", "c"), ("b", "b"), ("p", "p")])
def test_kinds(kind: str, expected: str) -> None:
    assert vars(planned(fuse(type=kind)).init[-2])["kind"] == expected


def test_a_fifo_needs_no_numbers_and_is_never_bound() -> None:
    step = planned({"path": "/pipe", "type": "p"}, namespaces=("mount", "user")).init[-2]
    assert (vars(step)["major"], vars(step)["minor"], vars(step)["bind"]) == (0, 0, False)


def test_a_device_of_the_config_replaces_a_default() -> None:
    steps = planned({"path": "/dev//null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}).init
    nulls = [step for step in steps if vars(step).get("path") == "/dev/null"]
    assert [vars(step)["mode"] for step in nulls] == [0o600]


def test_bound_in_a_user_namespace() -> None:
    assert all(vars(step)["bind"] for step in planned(fuse(), namespaces=("mount", "user")).init[:-1])
    assert all(vars(step)["bind"] for step in planned(fuse(), host=Host(in_user_namespace=True)).init[:-1])


def nodes(config: Any, host: Host | None = None) -> Plan:
    planner = Planner(config, host or Host(), OPTIONS)
    plan = planner.plan
    devices.plan_nodes(planner)
    return plan


def in_user_namespace(*entries: Any, path: str = "") -> Any:
    return {
        "linux": {
            "devices": list(entries),
            "namespaces": [{"type": "mount"}, {"type": "user", "path": path}],
            "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 10}],
            "gidMappings": [
                {"containerID": 0, "hostID": 200000, "size": 5},
                {"containerID": 5, "hostID": 7, "size": 2},
            ],
        }
    }


def test_the_host_makes_the_nodes_of_a_user_namespace_with_the_ids_that_they_show_there() -> None:
    config = in_user_namespace(fuse(fileMode=0o640, uid=9, gid=6), {"path": "/pipe", "type": "p"})
    plan = nodes(config)
    assert [step.action for step in plan.host] == ["device_filesystem", *["device_node"] * 7, "device_mounts"]
    assert vars(plan.host[0]) == {"nodes": 7, "label": "", "joined": False}
    assert plan.host[-2] == DeviceNode(
        "/linux/devices/0",
        name="0",
        path="/dev/fuse",
        kind="c",
        major=10,
        minor=229,
        mode=0o640,
        uid=100009,
        gid=8,
    )
    assert vars(plan.host[-1]) == {"names": ("null", "random", "full", "tty", "zero", "urandom", "0")}
    planner = Planner(config, Host(), OPTIONS)
    devices.plan_devices(planner)
    plan.init = planner.plan.init
    assert [vars(step)["name"] for step in plan.init[:-1]] == [
        "null",
        "random",
        "full",
        "tty",
        "zero",
        "urandom",
        "0",
        "",
    ]
    assert plan.warnings == []


def test_an_owner_that_the_user_namespace_does_not_map_is_a_warning() -> None:
    plan = nodes(in_user_namespace(fuse(uid=10)))
    assert vars(plan.host[-2])["uid"] == 0
    assert [pointer for pointer, _ in plan.warnings] == ["/linux/devices/0/uid"]


def test_the_ids_of_a_joined_user_namespace_are_its_own() -> None:
    plan = nodes(in_user_namespace(fuse(uid=10), path="/proc/1/ns/user"))
    assert vars(plan.host[0])["joined"]
    assert vars(plan.host[-2])["uid"] == 10
    assert plan.warnings == []


@pytest.mark.parametrize(
    "host", [Host(in_user_namespace=True), Host(capabilities=((1 << 41) - 1) & ~(1 << 27)), Host(clones_mounts=False)]
)
def test_without_the_right_to_make_nodes_those_of_the_host_are_bound(host: Host) -> None:
    config = in_user_namespace(fuse())
    plan = nodes(config, host)
    assert plan.host == []
    planner = Planner(config, host, OPTIONS)
    devices.plan_devices(planner)
    plan.init = planner.plan.init
    assert {(vars(step)["bind"], vars(step)["name"]) for step in plan.init[:-1]} == {(True, "")}


def test_without_a_user_namespace_the_host_makes_no_nodes() -> None:
    assert nodes({"linux": {"devices": [fuse()], "namespaces": [{"type": "mount"}]}}).host == []


def test_nothing_is_made_in_a_dev_of_the_hosts() -> None:
    mounts = [{"destination": "/dev", "source": "/dev", "options": ["rbind"]}]
    steps = planned(fuse(), fuse(path="/srv/fuse"), mounts=mounts).init
    assert [(step.action, vars(step)["path"]) for step in steps] == [
        ("device", "/srv/fuse"),
        ("existing_device", "/dev/fuse"),
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
    assert refused_at({"linux": {"devices": [device]}}) == [pointer]

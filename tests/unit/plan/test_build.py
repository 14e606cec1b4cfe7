"""The order of a whole plan: which steps must precede which, and where the lanes wait for each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ocipy.config.template import template
from ocipy.plan import mounts
from ocipy.plan.build import build
from ocipy.plan.model import Host, Options, Plan, Planner, Step

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OPTIONS = Options(container_id="c", bundle="/b", state_directory="/run/ocipy/c", has_console=True)
V1 = Host(cgroup_mode="v1", cgroup_controllers=("cpuset", "cpu", "memory", "devices", "pids"), apparmor=True)
V2 = Host(cgroup_mode="v2", cgroup_controllers=("cpuset", "cpu", "memory", "pids"), apparmor=True)
HOSTS = pytest.mark.parametrize("host", [V1, V2], ids=["v1", "v2"])
ENGINES = pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)


def config(*, more_mounts: tuple[dict[str, Any], ...] = (), **linux: Any) -> Any:
    document: Any = template()
    document["mounts"] += more_mounts
    document["linux"] |= linux
    return document


def planner(document: Any) -> Planner:
    return Planner(document, V2, OPTIONS)


def index(steps: Sequence[Step], action: str, barrier: str = "") -> int:
    """Of the first of these steps."""
    return next(
        number
        for number, step in enumerate(steps)
        if step.action == action and (not barrier or vars(step)["barrier"] == barrier)
    )


def barriers(plan: Plan) -> list[str]:
    return [vars(step)["barrier"] for step in plan.host if step.action in ("tell", "wait")]


@HOSTS
def test_a_version_before_1_0_is_a_warning(host: Host) -> None:
    old = config()
    old["ociVersion"] = "0.5.0-dev"
    assert build(old, host, OPTIONS).warnings == [
        ("/ociVersion", "0.5.0-dev is older than 1.0: fields renamed since then are ignored")
    ]


@HOSTS
def test_mappings_without_a_user_namespace_are_a_warning_and_have_no_effect(host: Host) -> None:
    mappings = [{"containerID": 0, "hostID": 100000, "size": 1}]
    document = config(uidMappings=mappings, gidMappings=mappings)
    document["process"]["user"] = {"uid": 5, "gid": 5, "additionalGids": [6]}
    plan = build(document, host, OPTIONS)
    assert plan.warnings == [
        (f"/linux/{member}", "has no effect without a user namespace in linux.namespaces")
        for member in ("uidMappings", "gidMappings")
    ]
    del document["linux"]["uidMappings"], document["linux"]["gidMappings"]
    without = build(document, host, OPTIONS)
    assert (plan.host, plan.init) == (without.host, without.init)


@HOSTS
@ENGINES
def test_every_barrier_has_two_sides_in_the_same_order(host: Host, path: Path) -> None:
    plan = build(json.loads(path.read_text()), host, OPTIONS)
    other = {"tell": "wait", "wait": "tell"}
    lanes = [
        [(step.action, vars(step)["barrier"]) for step in lane if step.action in other]
        for lane in (plan.host, plan.init)
    ]
    # Before these a stage waits; of "waiting" wait_for_start tells.
    starts = (("tell", "begin"), ("tell", "confined"))
    first = next((number for number, entry in enumerate(lanes[0]) if entry in starts), 0)
    assert lanes[0][first:] == [(other[action], barrier) for action, barrier in lanes[1]] + [("wait", "waiting")]


@HOSTS
@ENGINES
def test_the_cgroup_is_joined_before_it_is_shown_and_confined_before_devices_and_hooks(host: Host, path: Path) -> None:
    plan = build(json.loads(path.read_text()), host, OPTIONS)
    init = [step.action for step in plan.init]
    last_entered = max((number for number, action in enumerate(init) if action == "cgroup_enter"), default=-1)
    for action in ("unshare_cgroup", "mount_cgroup1", "mount_cgroup2"):
        if action in init:
            assert last_entered < init.index(action)
    rules = index(plan.host, "cgroup_devices")
    hooks = [number for number, step in enumerate(plan.host) if step.action == "hook"]
    assert all(rules < hook for hook in hooks)
    if "confined" in barriers(plan):
        assert rules < index(plan.host, "tell", "confined")
        assert index(plan.init, "wait", "confined") < index(plan.init, "device")


@HOSTS
def test_init_waits_after_its_mounts_only_for_what_there_is_to_do(host: Host) -> None:
    confined = ["confined"] if host.cgroup_mode == "v1" else []
    document = config()
    assert barriers(build(document, host, OPTIONS)) == [*confined, "ready", "limited", "waiting"]
    document["process"]["terminal"] = False
    assert barriers(build(document, host, OPTIONS)) == [*confined, "waiting"]
    with_limit = config(resources={"pids": {"limit": 9}})
    assert barriers(build(with_limit, host, OPTIONS))[: len(confined) + 2] == [*confined, "mounted", "go"]
    with_hook = config() | {"hooks": {"createContainer": [{"path": "/bin/h"}]}}
    assert barriers(build(with_hook, host, OPTIONS))[: len(confined) + 2] == [*confined, "mounted", "go"]


@HOSTS
def test_a_device_of_the_config_is_made_under_the_device_rules(host: Host) -> None:
    document = config(devices=[{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}])
    plan = build(document, host, OPTIONS)
    assert index(plan.host, "cgroup_devices") < index(plan.host, "tell", "confined")
    assert index(plan.init, "wait", "confined") < index(plan.init, "device")


@HOSTS
def test_the_host_makes_the_network_namespace_while_init_makes_the_mounts_that_do_not_show_it(host: Host) -> None:
    plan = build(config(), host, OPTIONS)
    assert "network" not in vars(plan.host[index(plan.host, "clone")])["kinds"]
    assert index(plan.host, "make_network") < index(plan.host, "cgroup_devices") < index(plan.host, "save_state")
    entered = index(plan.init, "enter_network")
    sysfs = next(number for number, step in enumerate(plan.init) if step.title == "mount /sys")
    assert index(plan.init, "mount") < entered < index(plan.init, "loopback") < sysfs


@HOSTS
@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize(
    ("action", "mount"),
    [
        ("mount", {"type": "nfs", "source": "server:/share"}),
        ("bind", {"source": "/proc/self/ns/net", "options": ["bind"]}),
        ("remount", {"options": ["remount", "ro"]}),
    ],
)
def test_nothing_of_the_host_is_mounted_before_the_network_is_entered(
    host: Host, network: bool, action: str, mount: dict[str, Any]
) -> None:
    document = config()
    document["mounts"].insert(0, {"destination": "/share", **mount})
    if not network:
        namespaces = document["linux"]["namespaces"]
        namespaces[:] = [entry for entry in namespaces if entry["type"] != "network"]
    plan = build(document, host, OPTIONS)
    waits = index(plan.init, "enter_network") if network else index(plan.init, "wait", "begin")
    first = next(step for step in plan.init if step.pointer.startswith("/mounts"))
    assert first.action == action
    assert waits < plan.init.index(first)
    assert index(plan.init, "undumpable") < waits


@HOSTS
def test_the_state_is_saved_before_any_hook_runs_and_before_the_limits_are_set(host: Host) -> None:
    document = config(resources={"pids": {"limit": 9}}) | {"hooks": {"prestart": [{"path": "/bin/h"}]}}
    steps = build(document, host, OPTIONS).host
    assert index(steps, "clone") < index(steps, "save_state") < index(steps, "wait", "mounted") < index(steps, "hook")


@pytest.mark.parametrize("kind", ["mount", "user", "network", "shared", "nested"])
def test_init_begins_at_once_only_if_its_mounts_are_its_own_and_no_map_is_to_come(kind: str) -> None:
    document = config()
    namespaces = document["linux"]["namespaces"]
    if kind == "mount":
        namespaces[:] = [entry for entry in namespaces if entry["type"] != "mount"]
        del document["linux"]["readonlyPaths"], document["linux"]["maskedPaths"]
    elif kind == "user":
        namespaces.append({"type": "user"})
        document["linux"]["uidMappings"] = document["linux"]["gidMappings"] = [
            {"containerID": 0, "hostID": 100000, "size": 65536}
        ]
    elif kind == "network":
        namespaces.append({"type": "network", "path": "/run/netns/n"})
    elif kind == "shared":
        document["linux"]["rootfsPropagation"] = "rshared"
    plan = build(document, Host(in_user_namespace=kind == "nested"), OPTIONS)
    assert "make_network" not in [step.action for step in plan.host]
    assert index(plan.init, "wait", "begin") < index(plan.init, "undumpable")
    assert index(plan.host, "save_state") < index(plan.host, "tell", "begin")


@HOSTS
@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/disk", "type": "ext4", "source": "/dev/vdb"},
        {"destination": "/dev2", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
    ],
    ids=["a disk", "copied devices"],
)
def test_a_mount_that_takes_devices_comes_before_the_rules(host: Host, mount: dict[str, Any]) -> None:
    document = config(more_mounts=(mount,))
    assert mounts.needs_devices(planner(document))
    plan = build(document, host, OPTIONS)
    assert index(plan.host, "wait", "mounted") < index(plan.host, "cgroup_devices")


@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/a", "type": "bind", "source": "/dev/vdb", "options": ["rbind"]},
        {"destination": "/a", "source": "/dev/vdb", "options": ["bind"]},
        {"destination": "/a", "type": "none", "options": ["remount", "ro"]},
        {"destination": "/a", "type": "tmpfs", "source": "tmpfs"},
    ],
)
def test_these_take_no_device(mount: dict[str, Any]) -> None:
    assert not mounts.needs_devices(planner(config(more_mounts=(mount,))))


@HOSTS
def test_what_is_made_or_set_inside_comes_before_it_is_closed(host: Host) -> None:
    """The working directory before a read-only root, kernel parameters before paths of /proc are covered."""
    document = config(sysctl={"net.ipv4.ip_forward": "1"}, readonlyPaths=["/proc/sys"], maskedPaths=["/proc/kcore"])
    document["root"]["readonly"] = True
    init = build(document, host, OPTIONS).init
    assert index(init, "pivot_root") < index(init, "make_cwd") < index(init, "root_readonly")
    assert index(init, "sysctl") < index(init, "sysctl_done") < index(init, "readonly_path") < index(init, "mask")


def test_the_first_mount_of_the_cgroup() -> None:
    document = config()
    assert document["mounts"][mounts.first_of_cgroup(planner(document))]["destination"] == "/sys/fs/cgroup"
    document["mounts"] = document["mounts"][:2]
    assert mounts.first_of_cgroup(planner(document)) == 2
    assert mounts.first_of_cgroup(planner({"ociVersion": "1.0.2"})) == 0


@pytest.mark.parametrize("starts", [False, True], ids=["create", "run"])
@pytest.mark.parametrize("kind", ["no other", "new", "joined"])
def test_a_container_is_marked_as_being_created_before_the_state_names_its_process(kind: str, starts: bool) -> None:
    """Otherwise it would count as running, and exec would enter it before init has pivoted: with the host's root."""
    ids = [{"containerID": 0, "hostID": 1000, "size": 1}]
    document = config(uidMappings=ids, gidMappings=ids)
    namespaces = document["linux"]["namespaces"]
    if kind == "new":
        namespaces.append({"type": "user"})
    elif kind == "joined":
        next(entry for entry in namespaces if entry["type"] == "network")["path"] = "/run/netns/a"
    options = Options(container_id="c", bundle="/b", state_directory="/run/ocipy/c", has_console=True, starts=starts)
    host = build(document, V2, options).host
    assert index(host, "creating" if starts else "fifo") < index(host, "save_state")

"""The steps for --systemd-cgroup."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.plan.build import build
from ocipy.plan.model import Host, Options, Plan, Planner, Step
from ocipy.plan.systemd import expand, unit_of, wanted_properties

V1 = Host(cgroup_mode="hybrid", cgroup_controllers=("cpu", "cpuset", "memory", "pids", "devices", "name=systemd"))
V2 = Host(cgroup_mode="v2", cgroup_controllers=("cpu", "cpuset", "memory", "pids", "io"))
ROOTLESS = Host(cgroup_mode="v2", cgroup_controllers=("memory", "pids"), uid=1000, gid=1000, rootless=True)
OPTIONS = Options(container_id="web", bundle="/b", state_directory="/run/ocipy/web", systemd_cgroup=True)
NAMESPACES = [{"type": kind} for kind in ("pid", "mount", "cgroup")]


def config(**linux: Any) -> Any:
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"]},
        "linux": {"namespaces": NAMESPACES, **linux},
    }


def planned(document: Any, host: Host = V2) -> Plan:
    return build(document, host, OPTIONS)


def step(plan: Plan, action: str) -> Step:
    (found,) = [step for step in plan.host if step.action == action]
    return found


def about_cgroups(plan: Plan) -> list[str]:
    return [
        step.action
        for step in plan.host
        if step.action.startswith(("cgroup", "systemd", "clone")) or step.action == "save_state"
    ]


def refused(document: Any, pointer: str, host: Host = V2) -> Error:
    with pytest.raises(Error) as caught:
        planned(document, host)
    assert caught.value.pointer == pointer
    return caught.value


def test_the_order_on_v2() -> None:
    plan = planned(config(resources={"pids": {"limit": 5}}))
    assert about_cgroups(plan) == [
        "systemd_unit", "clone", "systemd_scope", "cgroup_devices", "save_state", "systemd_properties", "cgroup_write",
    ]  # fmt: skip
    assert vars(step(plan, "clone")) == {"kinds": ("pid", "mount"), "into_cgroup": False}
    assert "unshare_cgroup" in [step.action for step in plan.init], "its root is the cgroup of that moment"


def test_the_unit_is_made_while_init_mounts() -> None:
    document = config()
    document["mounts"] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
    ]
    plan = planned(document)
    host = [vars(step).get("barrier", step.action) for step in plan.host]
    init = [vars(step).get("barrier", step.action) for step in plan.init]
    assert (
        host.index("systemd_scope") < host.index("cgroup_devices") < host.index("confined") < host.index("save_state")
    )
    assert init.index("mount") < init.index("confined") < init.index("unshare_cgroup") < init.index("mount_cgroup2")
    assert init.index("confined") < init.index("device"), "what is made before the rules are there is under none"


def test_a_users_unit_is_made_before_init_changes_its_ids() -> None:
    host = [vars(step).get("barrier", step.action) for step in planned(config(), ROOTLESS).host]
    assert host.index("systemd_scope") < host.index("begin")


def test_the_order_on_v1() -> None:
    plan = planned(config(resources={"cpu": {"cpus": "0"}}), V1)
    assert about_cgroups(plan) == [
        "systemd_unit", "clone", "systemd_scope", "cgroup_write", "systemd_join", "cgroup_devices", "save_state",
        "systemd_properties",
    ]  # fmt: skip
    assert "cgroup_enter" not in [step.action for step in plan.init]


def test_a_stage_is_put_into_the_unit_before_it_goes_on() -> None:
    namespaces = [*NAMESPACES, {"type": "network", "path": "/proc/1/ns/net"}]
    actions = [step.action for step in planned(config(namespaces=namespaces)).host]
    assert actions.index("clone_stage") < actions.index("systemd_scope") < actions.index("tell")


def test_the_unit() -> None:
    assert vars(step(planned(config()), "systemd_unit")) == {
        "unit": "ocipy-web.scope",
        "slice_path": "/system.slice",
        "user": False,
        "description": "ocipy container web (/run/ocipy)",
    }
    assert vars(step(planned(config(), ROOTLESS), "systemd_unit")) == {
        "unit": "ocipy-web.scope",
        "slice_path": "/user.slice",
        "user": True,
        "description": "ocipy container web (/run/ocipy)",
    }


def test_the_properties_that_it_is_made_with() -> None:
    scope = step(planned(config(cgroupsPath="a-b.slice:docker:1")), "systemd_scope")
    assert vars(scope)["properties"][:-3] == (
        ("Description", "s", "ocipy container web (/run/ocipy)", 0),
        ("Slice", "s", "a-b.slice", 0),
        ("Delegate", "b", True, 0),
        ("MemoryAccounting", "b", True, 0),
        ("CPUAccounting", "b", True, 0),
        ("IOAccounting", "b", True, 0),
        ("TasksAccounting", "b", True, 0),
        ("DefaultDependencies", "b", False, 0),
    )
    assert [name for name, *_ in vars(scope)["properties"][-3:]] == ["DeviceAllow", "DevicePolicy", "DeviceAllow"]
    names = [name for name, *_ in vars(step(planned(config(), V1), "systemd_scope"))["properties"]]
    assert "BlockIOAccounting" in names
    assert "IOAccounting" not in names


def test_the_limits_go_to_systemd_and_to_the_files() -> None:
    plan = planned(config(resources={"cpu": {"quota": 12345}, "memory": {"limit": 1 << 20}}))
    told = {name: value for name, _, value, _ in vars(step(plan, "systemd_properties"))["properties"]}
    assert told == {"MemoryMax": 1 << 20, "CPUQuotaPerSecUSec": 130_000}
    written = {vars(step)["file"]: vars(step)["value"] for step in plan.host if step.action == "cgroup_write"}
    assert written == {"memory.max": str(1 << 20), "cpu.max": "13000 100000"}


def test_a_user_cannot_limit_devices() -> None:
    told = [name for name, *_ in vars(step(planned(config(), ROOTLESS), "systemd_scope"))["properties"]]
    assert "DevicePolicy" not in told
    assert "systemd_properties" not in about_cgroups(planned(config(), ROOTLESS))


def test_rules_that_a_mount_would_not_bear_come_with_the_limits() -> None:
    document = config()
    document["mounts"] = [{"destination": "/data", "type": "ext4", "source": "/dev/loop0"}]
    plan = planned(document)
    assert "DevicePolicy" not in [name for name, *_ in vars(step(plan, "systemd_scope"))["properties"]]
    assert "DevicePolicy" in [name for name, *_ in vars(step(plan, "systemd_properties"))["properties"]]
    host = [vars(step).get("barrier", step.action) for step in plan.host]
    assert host.index("mounted") < host.index("systemd_properties") < host.index("cgroup_devices")


def test_rootless_on_v1() -> None:
    host = Host(cgroup_mode="hybrid", cgroup_controllers=V1.cgroup_controllers, uid=1000, rootless=True)
    refused(config(), "/linux/cgroupsPath", host)


@pytest.mark.parametrize(
    ("path", "unit", "slice_name"),
    [
        (None, "ocipy-web.scope", "system.slice"),
        ("", "ocipy-web.scope", "system.slice"),
        ("user.slice:libpod:0123", "libpod-0123.scope", "user.slice"),
        ("system.slice:docker:x", "docker-x.scope", "system.slice"),
        (":p:n", "p-n.scope", "system.slice"),
        ("-.slice:p:n", "p-n.scope", "-.slice"),
        ("-:p:n", "p-n.scope", "-.slice"),
        ("a-b-c.slice::n", "n.scope", "a-b-c.slice"),
        (":p:a+b", "p-a\\x2bb.scope", "system.slice"),
        (":p:ä", "p-\\xc3\\xa4.scope", "system.slice"),
        (":p:a/b", "p-a\\x2fb.scope", "system.slice"),
    ],
)
def test_names(path: str | None, unit: str, slice_name: str) -> None:
    assert unit_of(Planner(config(cgroupsPath=path), V2, OPTIONS)) == (unit, slice_name)


@pytest.mark.parametrize(
    "path",
    [
        "/docker/0123", "a", "a:b", "a:b:c:d", "system.slice:p:", "system:p:n", "a/b.slice:p:n", "a--b.slice:p:n",
        "-a.slice:p:n", "a-.slice:p:n", ".slice:p:n", "ä.slice:p:n", "system.slice:p:x.slice", ":p:" + "x" * 250,
    ],
)  # fmt: skip
def test_invalid_paths(path: str) -> None:
    refused(config(cgroupsPath=path), "/linux/cgroupsPath")


def test_the_words_for_the_wrong_form() -> None:
    error = refused(config(cgroupsPath="/docker/0123"), "/linux/cgroupsPath")
    assert error.what == (
        'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/docker/0123" instead'
    )


def test_slices_are_nested_by_their_names() -> None:
    assert expand("a-b-c.slice") == "/a.slice/a-b.slice/a-b-c.slice"
    assert expand("system.slice") == "/system.slice"
    assert expand("-.slice") == ""


def annotated(**properties: str) -> Any:
    return {"annotations": {"org.systemd.property." + name: text for name, text in properties.items()}}


def test_annotations() -> None:
    document = annotated(
        KillSignal="15",
        TimeoutStopUSec="uint64 10000000",
        RuntimeMaxSec="2",
        CollectMode="'inactive-or-failed'",
        After="['a.service', 'b.service']",
        OOMScoreAdjustSec="double 0.5",
    )
    document["annotations"]["org.opencontainers.image.stopSignal"] = "15"
    assert wanted_properties(document) == [
        ("KillSignal", "i", 15, 0),
        ("TimeoutStopUSec", "t", 10_000_000, 0),
        ("RuntimeMaxUSec", "t", 2_000_000, 0),
        ("CollectMode", "s", "inactive-or-failed", 0),
        ("After", "as", ("a.service", "b.service"), 0),
        ("OOMScoreAdjustUSec", "t", 500_000, 0),
    ]
    plan = planned(config() | document)
    assert vars(step(plan, "systemd_scope"))["properties"][-1][0] == "OOMScoreAdjustUSec"


def test_a_description_of_the_users_own() -> None:
    plan = planned(config() | annotated(Description="'the web'"))
    assert vars(step(plan, "systemd_unit"))["description"] == "the web"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KillSignal", "SIGTERM"),
        ("RuntimeMaxSec", "'2'"),
        ("RuntimeMaxSec", "-1"),
        ("ab", "1"),
        ("A-b", "1"),
        ("Été", "1"),
    ],
)
def test_invalid_annotations(name: str, text: str) -> None:
    refused(config() | annotated(**{name: text}), "/annotations/org.systemd.property." + name)


def test_without_the_driver_they_have_no_effect() -> None:
    options = Options(container_id="web", bundle="/b", state_directory="/run/ocipy/web")
    plan = build(config() | annotated(KillSignal="SIGTERM"), V2, options)
    assert not [step for step in plan.host if step.action.startswith("systemd")]


def test_in_words() -> None:
    plan = planned(config(resources={"pids": {"limit": -1}, "cpu": {"cpus": "0"}}))
    words = {step.action: step.describe() for step in plan.host}
    assert words["systemd_unit"] == "/system.slice/ocipy-web.scope"
    assert "Delegate=yes" in words["systemd_scope"]
    assert words["systemd_properties"].endswith("AllowedCPUs=[1] TasksMax=infinity")

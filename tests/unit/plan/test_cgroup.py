"""The steps for linux.cgroupsPath, linux.resources and mounts of type cgroup."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.cgroups.devices import DEFAULT_RULES, READ, WRITE
from ocipy.config.mount_options import MountEntry
from ocipy.errors import Error
from ocipy.plan.cgroup import (
    plan_cgroup_create,
    plan_cgroup_enter,
    plan_cgroup_join,
    plan_cgroup_limits,
    plan_cgroup_meanwhile,
    plan_cgroup_open,
)
from ocipy.plan.cgroup_mount import plan_cgroup_mount
from ocipy.plan.fields import resources_of
from ocipy.plan.model import Host, Options, Plan, Planner
from tests.unit.documents import refused_at

V1 = Host(
    cgroup_mode="hybrid", cgroup_controllers=("cpu", "cpuset", "memory", "pids", "devices", "freezer", "name=systemd")
)
V2 = Host(cgroup_mode="v2", cgroup_controllers=("cpu", "cpuset", "memory", "pids", "io"))


def planned(config: Any, host: Host = V1, devices_early: bool = False, **options: Any) -> Plan:
    choice = Options(container_id="c", bundle="/b", **options)
    config = {"ociVersion": "1.0.2", **config}
    planner = Planner(config, host, choice)
    plan = planner.plan
    for part in (plan_cgroup_create, plan_cgroup_open, plan_cgroup_enter, plan_cgroup_join):
        part(planner)
    plan_cgroup_meanwhile(planner, devices=devices_early)
    plan_cgroup_limits(planner, devices=not devices_early)
    return plan


def actions(plan: Plan) -> list[str]:
    return [step.action for step in plan.host]


def refused(config: Any, pointer: str, host: Host = V1, **options: Any) -> Error:
    with pytest.raises(Error) as caught:
        planned(config, host, **options)
    assert caught.value.pointer == pointer
    return caught.value


def test_without_anything_there_is_still_a_cgroup() -> None:
    for config in ({}, {"linux": None}, {"linux": {"resources": None, "cgroupsPath": None}}):
        plan = planned(config)
        assert actions(plan) == [
            "cgroup_create", "cgroup_open", "cgroup_join", "cgroup_cpuset", "tell", "cgroup_devices",
        ]  # fmt: skip
        assert vars(plan.host[0]) == {
            "path": "", "tolerant": False, "enable": (), "domain": False, "cpuset": False, "frozen": True,
            "pids_shared": True,
        }  # fmt: skip
        assert [(step.action, vars(step).get("skip")) for step in plan.init] == [
            ("cgroup_enter", "cpuset"), ("wait", None), ("cgroup_enter", ""),
        ]  # fmt: skip
        assert vars(plan.host[-1]) == {"rules": DEFAULT_RULES, "tolerant": False}


@pytest.mark.parametrize(
    ("host", "steps"), [(V1, ["cgroup_cpuset", "cgroup_devices", "tell"]), (V2, ["cgroup_devices"])]
)
def test_the_device_rules_may_be_set_while_init_mounts(host: Host, steps: list[str]) -> None:
    plan = planned({}, host, devices_early=True)
    joined = actions(plan).index("cgroup_join")
    assert actions(plan)[joined + 1 :] == steps


def test_without_a_barrier_where_nothing_is_done_meanwhile() -> None:
    for plan in (planned({}, V2), planned({}, V1, devices_early=True, no_cgroup=True)):
        assert "tell" not in actions(plan)


def test_a_cpuset_that_is_joined_with_another_controller_or_without_root_is_filled_at_once() -> None:
    together = Host(cgroup_mode="v1", cgroup_controllers=("cpu,cpuset", "devices"))
    rootless = Host(cgroup_mode="v1", cgroup_controllers=("cpuset", "devices"), rootless=True)
    for host in (together, rootless):
        plan = planned({}, host)
        assert vars(plan.host[0])["cpuset"]
        assert [(step.action, vars(step)) for step in plan.init] == [("cgroup_enter", {"skip": ""})]


@pytest.mark.parametrize("host", [V1, V2])
def test_without_a_cgroup_there_are_no_steps(host: Host) -> None:
    linux = {"namespaces": [{"type": "pid"}], "resources": {"memory": {"limit": 0}, "cpu": {"shares": 0}}}
    plan = planned({"linux": linux}, host, no_cgroup=True)
    assert (plan.host, plan.init, plan.warnings) == ([], [], [])
    linux = {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}
    plan = planned({"linux": linux}, host, no_cgroup=True)
    assert (plan.host, plan.init) == ([], [])
    assert [pointer for pointer, _ in plan.warnings] == ["/linux/resources/devices", "/linux/cgroupsPath"]


@pytest.mark.parametrize("host", [V1, V2])
@pytest.mark.parametrize(
    ("resources", "pointer"), [({"pids": {"limit": 5}}, "pids/limit"), ({"cpu": {"cpus": "0"}}, "cpu/cpus")]
)
def test_without_a_cgroup_a_limit_is_refused(host: Host, resources: Any, pointer: str) -> None:
    refused({"linux": {"resources": resources}}, "/linux/resources/" + pointer, host, no_cgroup=True)


def test_on_v2_the_clone_is_into_the_cgroup() -> None:
    plan = planned({"linux": {"cgroupsPath": "/a"}}, V2)
    assert actions(plan) == ["cgroup_create", "cgroup_join", "cgroup_devices"]
    assert plan.init == []


def test_a_step_for_each_write() -> None:
    resources = {"memory": {"limit": 1048576}, "pids": {"limit": 5}, "cpu": {"cpus": "0", "quota": 1000}}
    plan = planned({"linux": {"cgroupsPath": "/a", "resources": resources}})
    assert [(step.action, step.pointer, vars(step).get("file")) for step in plan.host] == [
        ("cgroup_create", "/linux/cgroupsPath", None),
        ("cgroup_open", "/linux/cgroupsPath", None),
        ("cgroup_join", "/linux/cgroupsPath", None),
        ("cgroup_cpuset", "/linux/cgroupsPath", None),
        ("cgroup_write", "/linux/resources/cpu/cpus", "cpuset.cpus"),
        ("tell", "", None),
        ("cgroup_devices", "/linux/resources/devices", None),
        ("cgroup_write", "/linux/resources/memory/limit", "memory.limit_in_bytes"),
        ("cgroup_write", "/linux/resources/cpu/quota", "cpu.cfs_quota_us"),
        ("cgroup_write", "/linux/resources/pids/limit", "pids.max"),
    ]


def test_only_threaded_limits() -> None:
    assert not vars(planned({"linux": {"resources": {"pids": {"limit": 5}}}}, V2).host[0])["domain"]
    assert vars(planned({"linux": {"resources": {"memory": {"limit": 5}}}}, V2).host[0])["domain"]


def test_hybrid_enables_what_it_needs() -> None:
    host = Host(cgroup_mode="hybrid", cgroup_controllers=("devices", "unified:hugetlb"))
    limits = [{"pageSize": "2MB", "limit": 0}]
    assert vars(planned({"linux": {"resources": {"hugepageLimits": limits}}}, host).host[0])["enable"] == ("hugetlb",)


def test_podmans_zero_pids_means_unlimited() -> None:
    config: dict[str, Any] = {"linux": {"resources": {"pids": {"limit": 0}}}}
    assert vars(planned(config).host[-1])["value"] == "0"
    config["annotations"] = {"io.container.manager": "libpod"}
    assert actions(planned(config))[-1] == "cgroup_devices"
    assert config["linux"]["resources"] == {"pids": {"limit": 0}}, "the config must not change"
    config["linux"]["resources"]["pids"]["limit"] = 7
    assert vars(planned(config).host[-1])["value"] == "7"


@pytest.mark.parametrize(("limited", "resources"), [(False, {}), (True, {"pids": {"limit": -1}})])
def test_podmans_zero_pids_lifts_an_existing_limit(limited: bool, resources: Any) -> None:
    """create and update agree: 0 is podman's word for no limit."""
    config: Any = {
        "linux": {"resources": {"pids": {"limit": 0}}},
        "annotations": {"io.container.manager": "libpod"},
    }
    assert resources_of(config, limited=limited) == resources
    del config["annotations"]
    assert resources_of(config, limited=limited) == {"pids": {"limit": 0}}


@pytest.mark.parametrize("path", ["/", "//", "/a/..", "/..", "/."])
def test_the_top_is_nobodys(path: str) -> None:
    assert refused_at({"linux": {"cgroupsPath": path}}) == ["/linux/cgroupsPath"]


def test_nul_in_the_path() -> None:
    assert refused_at({"linux": {"cgroupsPath": "/a\0b"}}) == ["/linux/cgroupsPath"]


def test_rootless_tolerates_only_where_nobody_asked() -> None:
    host = Host(cgroup_mode="v2", cgroup_controllers=(), uid=1000, rootless=True)
    assert [vars(step)["tolerant"] for step in planned({}, host).host] == [True, True, True]
    steps = planned({"linux": {"cgroupsPath": "/a"}}, host).host
    assert [vars(step)["tolerant"] for step in steps] == [False, False, True]


def test_a_host_without_cgroups() -> None:
    refused({}, "/linux/cgroupsPath", Host(cgroup_mode="v1"))
    rootless = Host(cgroup_mode="v1", uid=1000, rootless=True)
    assert "cgroup_devices" not in actions(planned({}, rootless))
    refused({"linux": {"cgroupsPath": "/a"}}, "/linux/cgroupsPath", rootless)


class TestDevices:
    def rules(self, devices: Any, nodes: Any = (), host: Host = V1) -> list[Any]:
        plan = planned({"linux": {"resources": {"devices": devices}, "devices": list(nodes)}}, host)
        (step,) = [step for step in plan.host if step.action == "cgroup_devices"]
        return list(vars(step)["rules"])

    def test_config_first_then_the_defaults(self) -> None:
        devices = [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": True, "type": "c", "major": 136},
            {"allow": True, "type": "b", "major": None, "minor": -1, "access": "r"},
        ]
        assert self.rules(devices) == [
            (False, "a", -1, -1, 7),
            (True, "c", 10, 229, READ | WRITE),
            (True, "c", 136, -1, 7),
            (True, "b", -1, -1, READ),
            *DEFAULT_RULES,
        ]

    def test_a_node_that_takes_the_place_of_a_default_one(self) -> None:
        rules = self.rules([], [{"path": "/dev/../dev/null", "type": "c", "major": 1, "minor": 9}])
        assert (True, "c", 1, 3, 7) not in rules
        assert len(rules) == len(DEFAULT_RULES) - 1

    @pytest.mark.parametrize(
        ("entry", "pointer"),
        [
            ({"allow": True, "type": "u"}, "/0/type"),
            ({"allow": True, "type": "c", "major": -2}, "/0/major"),
            ({"allow": True, "type": "c", "minor": 1 << 32}, "/0/minor"),
            ({"allow": True, "access": "rx"}, "/0/access"),
        ],
    )
    def test_refused(self, entry: Any, pointer: str) -> None:
        config = {"linux": {"resources": {"devices": [entry]}}}
        assert refused_at(config) == ["/linux/resources/devices" + pointer]

    def test_hole_in_a_wildcard(self) -> None:
        devices = [
            {"allow": True, "type": "c", "major": 1, "access": "rwm"},
            {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
        ]
        refused({"linux": {"resources": {"devices": devices}}}, "/linux/resources/devices/1", V1)
        assert len(self.rules(devices, host=V2)) == len(DEFAULT_RULES) + 2

    def test_in_a_user_namespace(self) -> None:
        host = Host(cgroup_mode="v1", cgroup_controllers=("devices",), in_user_namespace=True, rootless=True)
        plan = planned({"linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}}, host)
        assert "cgroup_devices" not in actions(plan)
        assert [pointer for pointer, _ in plan.warnings] == ["/linux/resources/devices"]
        assert planned({}, host).warnings == []

    def test_mounted_with_others(self) -> None:
        host = Host(cgroup_mode="v1", cgroup_controllers=("devices,freezer",))
        assert self.rules([], host=host) == list(DEFAULT_RULES)

    def test_no_controller_for_it(self) -> None:
        host = Host(cgroup_mode="v1", cgroup_controllers=("memory",))
        refused({}, "/linux/resources/devices", host)


MOUNT: Any = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}


class TestOwner:
    def owner(self, config: Any, host: Host = V2) -> list[int]:
        return [vars(step)["uid"] for step in planned(config, host).host if step.action == "cgroup_own"]

    def config(self, **changes: Any) -> Any:
        return {
            "process": {"cwd": "/", "user": {"uid": 1000, "gid": 0}},
            "mounts": [MOUNT],
            "linux": {"namespaces": [{"type": "cgroup"}]},
            **changes,
        }

    def test_writable_and_its_own_namespace(self) -> None:
        assert self.owner(self.config()) == [1000]

    def test_mapped(self) -> None:
        linux = {
            "namespaces": [{"type": "cgroup"}, {"type": "user"}],
            "uidMappings": [
                {"containerID": 0, "hostID": 50000, "size": 1000},
                {"containerID": 1000, "hostID": 70000, "size": 10},
            ],
        }
        assert self.owner(self.config(linux=linux)) == [70000]
        linux["uidMappings"] = [{"containerID": 0, "hostID": 50000, "size": 1000}]
        assert self.owner(self.config(linux=linux)) == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"linux": {"namespaces": []}},
            {"linux": {"namespaces": [{"type": "cgroup", "path": "/proc/1/ns/cgroup"}]}},
            {"linux": {"namespaces": [{"type": "cgroup"}, {"type": "user", "path": "/x"}]}},
            {"mounts": []},
            {"mounts": [{**MOUNT, "options": ["ro"]}]},
            {"mounts": [{**MOUNT, "source": "/sys/fs/cgroup"}]},
            {"mounts": [{**MOUNT, "destination": "/other"}]},
            {"process": {"cwd": "/", "user": {"uid": 0, "gid": 0}}},
        ],
    )
    def test_otherwise_it_stays(self, changes: Any) -> None:
        assert self.owner(self.config(**changes)) == []

    def test_never_on_v1(self) -> None:
        assert self.owner(self.config(), V1) == []


class TestMount:
    def step(self, mount: Any, host: Host, **linux: Any) -> Any:
        config: Any = {"ociVersion": "1.0.2", "mounts": [mount], "linux": linux}
        planner = Planner(config, host, Options(container_id="c", bundle="/b"))
        plan_cgroup_mount(planner, MountEntry("/mounts/0", mount))
        (step,) = planner.plan.init
        assert step.pointer == "/mounts/0"
        return step

    def test_v1(self) -> None:
        mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "rprivate"]}
        step = self.step(mount, V1)
        assert step.action == "mount_cgroup1"
        assert vars(step)["attributes"] & 1 and not vars(step)["namespace"]
        assert len(vars(step)["propagation"]) == 1

    def test_v2(self) -> None:
        mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["nsdelegate", "nosuid"]}
        step = self.step(mount, V2, namespaces=[{"type": "cgroup"}])
        assert step.action == "mount_cgroup2"
        assert (vars(step)["data"], vars(step)["source"], vars(step)["namespace"]) == (("nsdelegate",), "cgroup", "new")

    @pytest.mark.parametrize(
        ("namespaces", "expected"),
        [
            ([], ""),
            ([{"type": "cgroup"}], "new"),
            ([{"type": "mount"}, {"type": "cgroup", "path": "/proc/1/ns/cgroup"}], "joined"),
        ],
    )
    def test_namespace(self, namespaces: Any, expected: str) -> None:
        step = self.step({"destination": "/sys/fs/cgroup", "type": "cgroup"}, V1, namespaces=namespaces)
        assert vars(step)["namespace"] == expected

    def test_cgroup2_by_name(self) -> None:
        for host in (V1, V2):
            assert self.step({"destination": "/x", "type": "cgroup2"}, host).action == "mount_cgroup2"

    def test_an_unknown_data_option_on_v1_is_a_warning(self) -> None:
        mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["mode=777", "ro"]}
        config: Any = {"ociVersion": "1.0.2", "mounts": [mount]}
        planner = Planner(config, V1, Options(container_id="c", bundle="/b"))
        plan = planner.plan
        plan_cgroup_mount(planner, MountEntry("/mounts/0", config["mounts"][0]))
        assert plan.warnings == [("/mounts/0/options", "not an option of a cgroup v1 mount: mode=777")]
        mount["options"] = ["ro"]
        assert plan.init == [self.step(mount, V1)]

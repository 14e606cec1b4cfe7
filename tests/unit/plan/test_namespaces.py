"""linux.namespaces and the id maps: from config to steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ocipy.plan import namespaces
from ocipy.plan.fields import Namespaces
from ocipy.plan.model import Host, Options, Plan, Planner, Step
from ocipy.plan.namespaces import Clone, CloneStage, OpenNamespace, UidMap, UnshareCgroup
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="c", bundle="/b")
ONE = [{"containerID": 0, "hostID": 1000, "size": 1}]
MANY = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def config(*entries: dict[str, str], **linux: Any) -> Any:
    return {"linux": {"namespaces": list(entries), **linux}}


def cloned(document: Any, host: Host) -> Plan:
    planner = Planner(document, host, OPTIONS)
    plan = planner.plan
    namespaces.plan_clone(planner)
    return plan


def test_new_namespaces_are_one_clone() -> None:
    plan = cloned(config({"type": "pid"}, {"type": "mount"}), Host(cgroup_mode="v1"))
    assert plan.host == [
        Clone("/linux/namespaces", kinds=("pid", "mount"), into_cgroup=False),
    ]
    assert plan.init == []


def test_the_cgroup_namespace_is_made_by_the_clone_on_a_unified_host_only() -> None:
    document = config({"type": "pid"}, {"type": "cgroup"})
    assert vars(cloned(document, Host(cgroup_mode="v2")).host[0]) == {"kinds": ("pid", "cgroup"), "into_cgroup": True}
    for mode in ("v1", "hybrid"):
        assert vars(cloned(document, Host(cgroup_mode=mode)).host[0]) == {"kinds": ("pid",), "into_cgroup": False}
        planner = Planner(document, Host(cgroup_mode=mode), OPTIONS)
        namespaces.plan_unshare_cgroup(planner)
        assert planner.plan.init == [UnshareCgroup("/linux/namespaces/1")]


@pytest.mark.parametrize("kind", ["pid", "time"])
def test_a_joined_pid_or_time_namespace_takes_a_fork(kind: str) -> None:
    plan = cloned(config({"type": "mount"}, {"type": kind, "path": "/proc/1/ns/x"}), Host(clones_mounts=False))
    assert plan.host == [
        CloneStage(
            "/linux/namespaces",
            joined=((kind, "/linux/namespaces/1"),),
            drop_groups=False,
            user=False,
            unshared=("mount",),
            forks=True,
            watched=False,
            clocks=False,
        )
    ]


def test_a_joined_pid_namespace_is_entered_last_where_others_may_look() -> None:
    plan = cloned(config({"type": "mount"}, {"type": "time"}, {"type": "pid", "path": "/proc/1/ns/pid"}), Host())
    args = vars(plan.host[0])
    assert (args["joined"], args["unshared"], args["forks"], args["watched"]) == ((), ("mount", "time"), False, False)


def test_with_a_user_namespace_a_joined_pid_namespace_is_entered_first() -> None:
    plan = cloned(config({"type": "user"}, {"type": "pid", "path": "/proc/1/ns/pid"}), Host())
    args = vars(plan.host[0])
    assert args["joined"] == (("pid", "/linux/namespaces/1"),)
    assert (args["forks"], args["watched"]) == (True, True)


def test_a_joined_network_namespace_takes_a_stage_without_fork() -> None:
    plan = cloned(config({"type": "network", "path": "/run/netns/a"}, {"type": "user"}), Host())
    assert vars(plan.host[0]) == {
        "joined": (("network", "/linux/namespaces/0"),),
        "drop_groups": False,
        "user": True,
        "unshared": (),
        "forks": False,
        "watched": False,
        "clocks": False,
    }


@pytest.mark.parametrize(("annotation", "dropped"), [("0", True), ("1", False), ("true", False)])
def test_a_joined_user_namespace_is_entered_without_the_callers_groups(annotation: str, dropped: bool) -> None:
    document = config({"type": "user", "path": "/proc/2/ns/user"})
    document["annotations"] = {"run.oci.keep_original_groups": annotation}
    assert vars(cloned(document, Host()).host[0])["drop_groups"] is dropped


def test_joined_namespaces_are_opened_on_the_host() -> None:
    planner = Planner(config({"type": "network", "path": "/run/netns/a"}), Host(), OPTIONS)
    plan = planner.plan
    namespaces.plan_join(planner)
    assert plan.host == [
        OpenNamespace("/linux/namespaces/0", kind="network", path="/run/netns/a"),
    ]


def maps(host: Host, uids: Any, gids: Any) -> Sequence[Step]:
    document = config({"type": "user"}, uidMappings=uids, gidMappings=gids)
    planner = Planner(document, host, OPTIONS)
    plan = planner.plan
    namespaces.plan_id_maps(planner)
    return plan.host


def test_root_writes_the_maps_itself() -> None:
    uid, gid = maps(Host(), MANY, MANY)
    assert uid == UidMap("/linux/uidMappings", mappings=((0, 100000, 65536),), by_helper=False)
    assert vars(gid)["by_helper"] is False
    assert vars(gid)["deny_setgroups"] is False


def test_a_user_has_many_ids_mapped_by_the_helpers() -> None:
    uid, gid = maps(Host(uid=1000, rootless=True), MANY, MANY)
    assert vars(uid)["by_helper"] is True
    assert vars(gid)["deny_setgroups"] is False


def test_a_user_maps_itself_without_helper_and_gives_up_setgroups() -> None:
    uid, gid = maps(Host(uid=1000, gid=1000, rootless=True), ONE, ONE)
    assert vars(uid)["by_helper"] is vars(gid)["by_helper"] is False
    assert vars(gid)["deny_setgroups"] is True


def test_one_id_that_is_not_the_users_own_is_mapped_by_the_helper() -> None:
    uid, gid = maps(Host(uid=1000, gid=100, rootless=True), ONE, ONE)
    assert vars(uid)["by_helper"] is False
    assert vars(gid)["by_helper"] is True
    assert vars(gid)["deny_setgroups"] is False


def test_root_of_a_user_namespace_maps_what_it_has_itself() -> None:
    uid, gid = maps(Host(in_user_namespace=True, rootless=True), MANY, ONE)
    assert vars(uid)["by_helper"] is vars(gid)["by_helper"] is vars(gid)["deny_setgroups"] is False


@pytest.mark.parametrize(
    ("uids", "gids", "pointer"),
    [([], MANY, "/linux/gidMappings"), (MANY, [], "/linux/uidMappings"), ([], [], "/linux/uidMappings")],
)
def test_a_user_namespace_without_maps_is_refused(uids: Any, gids: Any, pointer: str) -> None:
    assert refused_at(config({"type": "user"}, uidMappings=uids, gidMappings=gids)) == [pointer]


def test_without_a_user_namespace_maps_are_not_written() -> None:
    planner = Planner(config({"type": "pid"}, uidMappings=MANY, gidMappings=MANY), Host(), OPTIONS)
    plan = planner.plan
    namespaces.plan_id_maps(planner)
    assert plan.host == []


def test_namespaces_are_told_apart_by_whether_they_are_made_or_joined() -> None:
    found = Namespaces(config({"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "uts", "path": ""}, {"type": "ipc"}))
    assert found.new == {"uts": "/linux/namespaces/1", "ipc": "/linux/namespaces/2"}
    assert found.joined == {"pid": ("/proc/1/ns/pid", "/linux/namespaces/0")}
    assert list(found.all.items()) == [(kind, f"/linux/namespaces/{i}") for i, kind in enumerate(("pid", "uts", "ipc"))]


@pytest.mark.parametrize("document", [{}, {"linux": None}, {"linux": {"namespaces": None}}])
def test_without_namespaces_those_of_the_runtime_remain(document: Any) -> None:
    assert not Namespaces(document).all

"""root and linux.rootfsPropagation: from config to steps."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.linux.constants import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE
from ocipy.plan import rootfs
from ocipy.plan.model import Host, Options, Plan, Planner
from ocipy.plan.process import StdioNull
from ocipy.plan.rootfs import AttachRootfs, BindRootfs, Chroot, OpenRootfs, PivotRoot, Propagation, Rootfs, RootReadonly
from tests.unit.documents import refused_at

Actions = list[tuple[str, str, dict[str, Any]]]


def planned(
    propagation: str | None = None,
    namespaces: tuple[str, ...] = ("mount",),
    no_pivot: bool = False,
    root: Any = None,
    mounts: Any = (),
) -> Plan:
    entries = [{"type": kind.split("=")[0], "path": kind.partition("=")[2]} for kind in namespaces]
    config: Any = {
        "root": root if root is not None else {"path": "rootfs"},
        "mounts": mounts,
        "linux": {"namespaces": entries, "rootfsPropagation": propagation},
    }
    planner = Planner(config, Host(), Options(container_id="c", bundle="/b", no_pivot=no_pivot))
    rootfs.plan_root_source(planner)
    rootfs.plan_rootfs(planner)
    rootfs.plan_pivot(planner)
    rootfs.plan_root_readonly(planner)
    return planner.plan


def test_usually() -> None:
    plan = planned()
    assert plan.host == []
    assert plan.init == [
        Propagation("", flags=MS_SLAVE | MS_REC),
        Rootfs("/root/path", path="/b/rootfs", propagation=MS_PRIVATE, parent=MS_PRIVATE),
        PivotRoot("/root/path"),
        StdioNull("/linux/devices", required=True),
    ]


@pytest.mark.parametrize(
    ("kind", "before", "tree", "after"),
    [
        ("slave", MS_SLAVE | MS_REC, MS_SLAVE, MS_SLAVE),
        ("rslave", MS_SLAVE | MS_REC, MS_SLAVE, MS_SLAVE),
        ("private", MS_PRIVATE | MS_REC, MS_PRIVATE, MS_PRIVATE),
        ("rprivate", MS_PRIVATE | MS_REC, MS_PRIVATE, MS_PRIVATE),
        ("shared", None, MS_PRIVATE, MS_SHARED),
        ("rshared", None, MS_PRIVATE, MS_SHARED),
        ("unbindable", MS_PRIVATE | MS_REC, MS_PRIVATE, MS_UNBINDABLE),
    ],
)
def test_propagation(kind: str, before: int | None, tree: int, after: int) -> None:
    init = planned(kind).init
    flags = [vars(step)["flags"] for step in init if step.action == "propagation"]
    assert flags == ([after] if before is None else [before, after])
    assert all(step.pointer == "/linux/rootfsPropagation" for step in init if step.action == "propagation")
    attached = next(step for step in init if step.action == "rootfs")
    assert vars(attached)["propagation"] == tree
    # The final one is set on "/", so after the pivot.
    names = [step.action for step in init]
    assert names.index("pivot_root") < len(names) - 1 - names[::-1].index("propagation")


def test_the_host_opens_the_root_for_a_user_namespace() -> None:
    plan = planned(namespaces=("mount", "user"))
    assert plan.host == [OpenRootfs("/root/path", path="/b/rootfs", propagation=MS_PRIVATE)]
    assert plan.init[1] == AttachRootfs("/root/path")


def test_no_mount_namespace_is_a_chroot_on_a_mount_that_delete_removes() -> None:
    plan = planned(namespaces=("pid",))
    assert plan.host == [BindRootfs("/root/path", path="/b/rootfs")]
    assert [step.action for step in plan.init] == ["use_rootfs", "chroot", "stdio_null"]


@pytest.mark.parametrize("no_pivot", [False, True])
def test_a_joined_mount_namespace_keeps_its_root(no_pivot: bool) -> None:
    plan = planned("shared", namespaces=("mount=/proc/9/ns/mnt", "user"), no_pivot=no_pivot)
    assert plan.host == []
    assert plan.init == [
        Rootfs("/root/path", path="/b/rootfs", propagation=MS_PRIVATE, parent=0),
        Chroot("/root/path"),
        Propagation("/linux/rootfsPropagation", flags=MS_SHARED),
        StdioNull("/linux/devices", required=True),
    ]
    assert plan.warnings == [("/linux/namespaces", "in a joined mount namespace, only chroot confines the process")]


def test_no_pivot() -> None:
    assert [step.action for step in planned(no_pivot=True).init][2] == "move_root"
    with pytest.raises(Error) as caught:
        planned("private", no_pivot=True)
    assert caught.value.pointer == "/linux/rootfsPropagation"


def test_a_bound_dev_leaves_the_streams_alone() -> None:
    plan = planned(mounts=[{"destination": "/dev/", "source": "/dev", "options": ["rbind"]}])
    assert "stdio_null" not in [step.action for step in plan.init]


def test_readonly() -> None:
    plan = planned(root={"path": "/r", "readonly": True})
    assert plan.init[-1] == RootReadonly("/root/readonly")
    assert vars(plan.init[1])["path"] == "/r"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"linux": {"rootfsPropagation": "sideways"}}, "/linux/rootfsPropagation"),
        ({"linux": {"rootfsPropagation": "slave", "namespaces": [{"type": "pid"}]}}, "/linux/rootfsPropagation"),
        ({"root": {}}, "/root"),
        ({"root": None}, "/root"),
        ({"root": {"path": ""}}, "/root/path"),
        ({"root": {"path": "a\0b"}}, "/root/path"),
    ],
)
def test_what_is_refused(members: dict[str, Any], pointer: str) -> None:
    assert refused_at(members) == [pointer]

"""mounts: from config to steps."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.linux import constants as c
from ocipy.linux.paths import ALLOWED_IN_PROC
from ocipy.plan import mounts
from ocipy.plan.classic_mounts import Remount
from ocipy.plan.idmap import IdmapJoin, IdmapSource
from ocipy.plan.lane import PrivateProcfs
from ocipy.plan.model import Host, Options, Plan, Planner
from ocipy.plan.mounts import Bind, CopySymlink, Mount, OpenMountSource, RemountReadonly
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="c", bundle="/bundle")
MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def planned(
    *entries: dict[str, Any],
    namespaces: tuple[str, ...] = ("mount", "pid"),
    host: Host | None = None,
    **document: Any,
) -> Plan:
    linux = {"namespaces": [{"type": kind} for kind in namespaces], **document.pop("linux", {})}
    config: Any = {"mounts": list(entries), "linux": linux, **document}
    host = host or Host()
    planner = Planner(config, host, OPTIONS)
    plan = planner.plan
    mounts.plan_sources(planner)
    mounts.plan_mounts(planner)
    mounts.plan_readonly(planner)
    return plan


def bind(*words: str, **members: Any) -> dict[str, Any]:
    return {"destination": "/data", "source": "/srv", "options": ["bind", *words], **members}


def refused(*entries: dict[str, Any], **kwargs: Any) -> str:
    with pytest.raises(Error) as caught:
        planned(*entries, **kwargs)
    return caught.value.pointer


def test_a_filesystem() -> None:
    plan = planned(
        {
            "destination": "/proc",
            "type": "proc",
            "source": "proc",
            "options": ["nosuid", "noexec", "nodev", "hidepid=2"],
        }
    )
    assert plan.host == []
    assert plan.init == [
        Mount(
            "/mounts/0",
            destination="/proc",
            source="proc",
            fstype="proc",
            attributes=c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NOEXEC | c.MOUNT_ATTR_NODEV,
            superblock=(),
            data=("hidepid=2",),
            label="",
            propagation=(),
            recursive_set=0,
            recursive_clear=0,
            copy_up=False,
            late=False,
        )
    ]


def test_the_order_is_that_of_the_config() -> None:
    plan = planned(
        {"destination": "/b", "type": "tmpfs"},
        {"destination": "/a", "type": "tmpfs"},
        {"destination": "/b/c", "type": "tmpfs"},
    )
    assert [(step.pointer, vars(step)["destination"]) for step in plan.init] == [
        ("/mounts/0", "/b"),
        ("/mounts/1", "/a"),
        ("/mounts/2", "/b/c"),
    ]


def test_the_plan_shows_each_option_once() -> None:
    step = planned(
        {"destination": "/a", "type": "sysfs", "options": ["ro", "lazytime", "sync", "dirsync", "nosuid"]}
    ).init[0]
    assert step.describe() == "sysfs → /a ro nosuid sync dirsync lazytime"


def test_null_options_are_absent_ones() -> None:
    assert vars(planned({"destination": "/a", "type": "tmpfs", "options": None}).init[0])["data"] == ()


@pytest.mark.parametrize(
    ("mount", "late"),
    [
        ({"destination": "/t", "type": "tmpfs", "options": ["ro"]}, True),
        ({"destination": "/dev", "type": "devtmpfs", "options": ["ro"]}, True),
        ({"destination": "/t", "type": "tmpfs", "options": ["ro", "rw"]}, False),
        ({"destination": "/sys", "type": "sysfs", "options": ["ro"]}, False),
    ],
)
def test_a_mount_that_is_filled_first_becomes_read_only_later(mount: dict[str, Any], late: bool) -> None:
    plan = planned(mount)
    assert (plan.init[-1] == RemountReadonly("/mounts/0")) == late
    readonly = bool(vars(plan.init[0])["attributes"] & c.MOUNT_ATTR_RDONLY)
    assert readonly == (mount["type"] == "sysfs")
    assert ("ro" in vars(plan.init[0])["superblock"]) == readonly


@pytest.mark.parametrize(
    ("words", "classic"),
    [
        (["size=1m"], False),
        (["size=1m,mode=755"], True),
        (["iversion"], True),
        (["noiversion"], False),
        (["lowerdir=/" + "x" * 254], False),
        (["lowerdir=/" + "x" * 255], True),
    ],
)
def test_mount2_only_where_fsconfig_cannot_say_it(words: list[str], classic: bool) -> None:
    step = planned({"destination": "/t", "type": "tmpfs", "options": [*words, "ro"]}).init[0]
    assert step.action == ("mount_classic" if classic else "mount")
    if classic:
        assert not vars(step)["flags"] & c.MS_RDONLY


def test_a_bind_mount() -> None:
    plan = planned(bind("ro", "nosuid", "rslave", "rro", "what"))
    assert plan.host == []
    assert plan.init == [
        Bind(
            "/mounts/0",
            destination="/data",
            source="/srv",
            opened=False,
            recursive=False,
            source_nofollow=False,
            target_nofollow=False,
            attr_set=c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NOSUID,
            attr_clear=0,
            attr_implicit=c.MOUNT_ATTR_NODEV | c.MOUNT_ATTR_NOEXEC | c.MOUNT_ATTR_NOSYMFOLLOW,
            propagation=(c.MS_SLAVE | c.MS_REC,),
            recursive_set=c.MOUNT_ATTR_RDONLY,
            recursive_clear=0,
        )
    ]
    assert plan.warnings == [("/mounts/0/options", "not an option of a bind mount: what")]


@pytest.mark.parametrize(
    ("members", "recursive"),
    [({"options": ["rbind"]}, True), ({"options": ["bind"]}, False), ({"type": "bind", "options": []}, False)],
)
def test_kinds_of_bind(members: dict[str, Any], recursive: bool) -> None:
    step = planned(bind(**members)).init[0]
    assert (step.action, vars(step)["recursive"]) == ("bind", recursive)


def test_the_type_of_a_bind_mount_means_nothing() -> None:
    assert planned(bind(type="proc", destination="/data")).init[0].action == "bind"
    assert planned(bind(type="cgroup", destination="/data")).init[0].action == "bind"


def test_a_relative_source_is_relative_to_the_bundle() -> None:
    assert vars(planned(bind(source="data")).init[0])["source"] == "/bundle/data"


def test_a_relative_destination_is_from_the_root_and_warned_of() -> None:
    plan = planned(bind(destination="data/./x/../y"))
    assert vars(plan.init[0])["destination"] == "/data/y"
    assert plan.warnings[0][0] == "/mounts/0/destination"


def test_the_host_opens_sources_for_a_user_namespace() -> None:
    plan = planned(bind("ro"), namespaces=("mount", "user"))
    assert plan.host == [
        OpenMountSource(
            "/mounts/0",
            source="/srv",
            destination="/data",
            recursive=False,
            nofollow=False,
            propagation=c.MS_SLAVE,
            idmap="",
            idmap_recursive=False,
        )
    ]
    step = plan.init[0]
    assert vars(step)["opened"]
    assert vars(step)["attr_implicit"] == 0, "flags of the source are locked"


@pytest.mark.parametrize(
    "host",
    [
        Host(uid=1000, rootless=True, capabilities=0),
        # Root of a user namespace, but in the host's mount namespace: `unshare -Ur`.
        Host(in_user_namespace=True, rootless=True, clones_mounts=False),
    ],
)
def test_the_host_opens_nothing_where_it_has_no_more_rights(host: Host) -> None:
    plan = planned(bind(), namespaces=("mount", "user"), host=host)
    assert plan.host == []
    assert not vars(plan.init[0])["opened"]


def test_shared_roots_keep_bind_mounts_peers_of_their_sources() -> None:
    for kind, flag in (("rshared", 0), ("shared", 0), ("slave", c.MS_SLAVE), ("rprivate", c.MS_PRIVATE)):
        plan = planned(bind(), namespaces=("mount", "user"), linux={"rootfsPropagation": kind})
        assert vars(plan.host[0])["propagation"] == flag


def test_idmap_by_the_mounts_own_maps() -> None:
    plan = planned(bind("ridmap", uidMappings=MAPS, gidMappings=MAPS))
    triples = ((0, 100000, 65536),)
    assert plan.host[0] == PrivateProcfs(sysctl=False)  # through which the maps are written
    assert plan.host[1] == IdmapSource("/mounts/0", uids=triples, gids=triples)
    assert vars(plan.host[2])["idmap"] == "/mounts/0"
    assert vars(plan.host[2])["idmap_recursive"] is True
    assert vars(plan.init[0])["opened"]


def test_mounts_with_the_same_maps_share_a_user_namespace() -> None:
    other = [{"containerID": 0, "hostID": 5, "size": 1}]
    mapped = [bind("idmap", uidMappings=maps, gidMappings=MAPS) for maps in (MAPS, other, MAPS)]
    plan = planned(*mapped)
    assert [step.pointer for step in plan.host if isinstance(step, IdmapSource)] == ["/mounts/0", "/mounts/1"]
    opened = [step.idmap for step in plan.host if isinstance(step, OpenMountSource)]
    assert opened == ["/mounts/0", "/mounts/1", "/mounts/0"]


def test_idmap_without_maps_takes_the_containers() -> None:
    plan = planned(bind("idmap"), namespaces=("mount", "user"), linux={"uidMappings": MAPS, "gidMappings": MAPS})
    assert vars(plan.host[1])["uids"] == ((0, 100000, 65536),)
    assert vars(plan.host[2])["idmap_recursive"] is False


def test_idmap_of_a_joined_user_namespace_is_that() -> None:
    linux = {"namespaces": [{"type": "mount"}, {"type": "user", "path": "/proc/9/ns/user"}]}
    plan = planned(bind("idmap"), linux=linux)
    assert plan.host[0] == IdmapJoin("/mounts/0", path="/proc/9/ns/user")


def test_idmap_in_the_form_of_crun() -> None:
    # crun(1): "@" is relative to the container's map.
    linux = {
        "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 2, "size": 1000}],
        "gidMappings": MAPS,
    }
    plan = planned(bind("idmap=uids=@1-3-10#50-60-1;gids=0-7-2"), namespaces=("mount", "user"), linux=linux)
    assert vars(plan.host[1])["uids"] == ((1, 4, 10), (50, 60, 1))
    assert vars(plan.host[1])["gids"] == ((0, 7, 2),)


def test_an_idmap_is_not_relative_to_mappings_that_have_no_effect() -> None:
    linux = {"uidMappings": MAPS, "gidMappings": MAPS}
    assert refused_at({"mounts": [bind("idmap=uids=@1-3-10")], "linux": linux}) == ["/mounts/0/options"]
    assert vars(planned(bind("idmap=uids=1-3-10"), linux={"gidMappings": MAPS}).host[1])["gids"] == ((0, 0, 2**32 - 1),)


@pytest.mark.parametrize(
    ("mount", "pointer"),
    [
        (bind("idmap=uids=1-2"), "/mounts/0/options"),
        (bind("idmap=users=1-2-3"), "/mounts/0/options"),
        (bind("idmap=uids=@1-2-3"), "/mounts/0/options"),
        ({"destination": "/t", "type": "tmpfs", "uidMappings": MAPS, "gidMappings": MAPS}, "/mounts/0/options"),
        (bind(source=None), "/mounts/0/source"),
        (bind("remount", destination="/"), "/mounts/0/destination"),
        (bind("copy-symlink", destination="/x/../.."), "/mounts/0/destination"),
        (bind(destination="/proc/self"), "/mounts/0/destination"),
        (bind(destination="proc/sys/kernel"), "/mounts/0/destination"),
        (bind("copy-symlink", "dest-nofollow"), "/mounts/0/options"),
        ({"destination": "/proc", "type": "tmpfs"}, "/mounts/0/type"),
        ({"destination": "/t", "source": "x"}, "/mounts/0/type"),
        ({"destination": "/t", "type": "none", "options": ["rshared"]}, "/mounts/0/type"),
        ({"destination": "/t", "type": "proc", "options": ["tmpcopyup"]}, "/mounts/0/options"),
        (bind("idmap"), "/mounts/0/options/1"),
        (bind("idmap", uidMappings=MAPS), "/mounts/0/uidMappings"),
        (bind("idmap", gidMappings=MAPS), "/mounts/0/gidMappings"),
        (bind(source="/a\0b"), "/mounts/0/source"),
        ({"destination": "/t", "type": "tmpfs", "options": ["size=1\0"]}, "/mounts/0/options/0"),
    ],
)
def test_what_config_refuses(mount: dict[str, Any], pointer: str) -> None:
    assert refused_at({"mounts": [mount]}) == [pointer]


def test_idmap_is_refused_without_the_hosts_rights() -> None:
    rootless = Host(uid=1000, rootless=True, capabilities=0)
    assert refused(bind("idmap", uidMappings=MAPS, gidMappings=MAPS), host=rootless) == "/mounts/0/options"


@pytest.mark.parametrize("path", ALLOWED_IN_PROC)
def test_lxcfs_may_mount_in_proc(path: str) -> None:
    assert vars(planned(bind(destination=path)).init[0])["destination"] == path


def test_a_second_procfs_is_warned_of() -> None:
    plan = planned({"destination": "/mnt/p", "type": "proc"})
    assert plan.warnings == [
        ("/mounts/0/destination", "maskedPaths and readonlyPaths only cover a procfs mounted on /proc")
    ]


def test_remount() -> None:
    plan = planned({"destination": "/t", "options": ["remount", "bind", "ro", "size=1m"]})
    assert plan.init == [
        Remount(
            "/mounts/0",
            destination="/t",
            bind=True,
            flags=c.MS_REMOUNT | c.MS_BIND | c.MS_RDONLY,
            data=(),
            propagation=(),
            recursive_set=0,
            recursive_clear=0,
        )
    ]


def test_the_label_needs_selinux() -> None:
    label = {"mountLabel": "system_u:object_r:svirt_sandbox_file_t:s0:c1,c2"}
    mount = {"destination": "/t", "type": "tmpfs"}
    assert refused(mount, linux=label) == "/linux/mountLabel"
    step = planned(mount, linux=label, host=Host(selinux=True)).init[0]
    assert vars(step)["label"] == "context=" + label["mountLabel"]
    proc = planned({"destination": "/proc", "type": "proc"}, linux=label, host=Host(selinux=True)).init[0]
    assert vars(proc)["label"] == ""
    assert vars(planned(mount, linux={"mountLabel": ""}).init[0])["label"] == ""


def test_the_kind_of_context_is_an_annotation() -> None:
    label = {"mountLabel": "x"}
    mount = {"destination": "/t", "type": "tmpfs"}
    key = "run.oci.mount_context_type"
    step = planned(mount, linux=label, host=Host(selinux=True), annotations={key: "rootcontext"}).init[0]
    assert vars(step)["label"] == "rootcontext=x"
    wrong = refused_at({"mounts": [mount], "linux": label, "annotations": {key: "size=1,x"}})
    assert wrong == ["/annotations/run.oci.mount_context_type"]


def test_copy_symlink_is_a_bind_mount_unless_the_source_is_one() -> None:
    plan = planned(bind("copy-symlink"), namespaces=("mount", "user"))
    assert plan.host == [], "a link that leads nowhere can be copied, but not opened"
    assert plan.init == [CopySymlink("/mounts/0", **vars(planned(bind()).init[0]))]

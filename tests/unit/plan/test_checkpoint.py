"""checkpoint and restore: from config and flags to criu's options, and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.config.template import template
from ocipy.criu.messages import OPTIONS as FIELDS
from ocipy.criu.messages import encode
from ocipy.errors import Error
from ocipy.linux.constants import CLONE_NEWNET
from ocipy.plan import build, checkpoint, restore_request
from ocipy.plan.checkpoint import CriuFlags, DumpFacts
from ocipy.plan.model import Host, Options, Plan
from tests.unit.documents import put

OPTIONS = Options(container_id="c", bundle="/b", state_directory="/run/ocipy/c", has_console=True)
V1 = Host(cgroup_mode="v1", cgroup_controllers=("cpu,cpuacct", "devices", "pids"))
FLAGS = CriuFlags(image_path="/images")
DATA = {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind"]}


def config_with(**changes: Any) -> Any:
    """The template, with members changed by JSON pointer: linux__cgroupsPath="x"."""
    config: Any = template()
    del config["hostname"]  # some of these have no UTS namespace
    config["linux"]["maskedPaths"] = []
    for name, value in changes.items():
        config = put(config, "/" + name.replace("__", "/"), value)
    return config


def planned(config: Any, host: Host | None = None) -> Plan:
    return build.build(config, host or Host(), OPTIONS)


def dump(config: Any, flags: CriuFlags = FLAGS, host: Host | None = None, **facts: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"version": 31701, "pid": 7, "root": "/b/rootfs", **facts}
    options = checkpoint.dump_options(config, planned(config, host), flags, DumpFacts(**known))
    assert encode(FIELDS, options)
    return options


def restore(config: Any, flags: CriuFlags = FLAGS, host: Host | None = None, **facts: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"version": 31701, "root": "/run/ocipy/c/criu-root", **facts}
    request = restore_request.restore_request(config, planned(config, host), flags, known.pop("descriptors", ()))
    options = restore_request.restore_options(request, restore_request.RestoreFacts(**known))
    assert encode(FIELDS, options)
    return options


def test_a_plain_dump() -> None:
    assert dump(config_with()) == {
        "log_level": 4,
        "log_file": "dump.log",
        "notify_scripts": True,
        "manage_cgroups": True,
        "manage_cgroups_mode": 6,
        "orphan_pts_master": True,
        "empty_ns": CLONE_NEWNET,
        "shell_job": False,
        "ext_unix_sk": False,
        "tcp_established": False,
        "file_locks": False,
        "auto_dedup": False,
        "lazy_pages": False,
        "pid": 7,
        "root": "/b/rootfs",
        "leave_running": False,
        "tcp_skip_in_flight": False,
        "link_remap": False,
    }


def test_a_plain_restore() -> None:
    options = restore(config_with())
    assert options["log_file"] == "restore.log"
    assert options["root"] == "/run/ocipy/c/criu-root"
    assert options["rst_sibling"] and options["evasive_devices"] and options["orphan_pts_master"]
    assert not {"external", "inherit_fd", "join_ns", "cg_root", "lsm_profile"} & set(options)


@pytest.mark.parametrize(
    "flag",
    ["leave_running", "tcp_established", "tcp_skip_in_flight", "link_remap", "ext_unix_sk", "shell_job", "file_locks",
     "lazy_pages", "auto_dedup", "tcp_close"],
)  # fmt: skip
def test_a_switch_of_checkpoint_is_an_option_of_criu(flag: str) -> None:
    assert dump(config_with(), CriuFlags(image_path="/images", **{flag: True}))[flag] is True  # type: ignore[arg-type]


@pytest.mark.parametrize("flag", ["tcp_established", "ext_unix_sk", "shell_job", "file_locks", "lazy_pages",
                                  "auto_dedup", "tcp_close"])  # fmt: skip
def test_a_switch_of_restore_is_an_option_of_criu(flag: str) -> None:
    assert restore(config_with(), CriuFlags(image_path="/images", **{flag: True}))[flag] is True  # type: ignore[arg-type]


@pytest.mark.parametrize(("mode", "number"), [("soft", 3), ("full", 4), ("strict", 5), ("ignore", 0), ("", 6)])
def test_the_modes_of_cgroups(mode: str, number: int) -> None:
    flags = CriuFlags(image_path="/images", manage_cgroups_mode=mode)
    assert dump(config_with(), flags)["manage_cgroups_mode"] == number
    assert restore(config_with(), flags)["manage_cgroups_mode"] == number


def test_a_page_server_a_parent_and_a_lock() -> None:
    flags = CriuFlags(image_path="/i", page_server=("::1", 27), parent_path="../parent", network_lock="nftables")
    options = dump(config_with(), flags)
    assert options["ps"] == {"address": "::1", "port": 27}
    assert options["parent_img"] == "../parent" and options["track_mem"]
    assert options["network_lock"] == 2


@pytest.mark.parametrize(("method", "version"), [("nftables", 31603), ("skip", 31701)])
def test_a_lock_that_this_criu_does_not_know(method: str, version: int) -> None:
    with pytest.raises(Error, match=f"does not support --network-lock {method}"):
        dump(config_with(), CriuFlags(image_path="/i", network_lock=method), version=version)


@pytest.mark.parametrize(
    ("unified", "version", "frozen"), [(True, 31701, True), (True, 31300, False), (False, 31300, True)]
)
def test_the_freezer_of_v2_is_for_newer_criu(unified: bool, version: int, frozen: bool) -> None:
    options = dump(config_with(), freezer="/sys/fs/cgroup/c", unified=unified, version=version)
    assert options.get("freeze_cgroup") == ("/sys/fs/cgroup/c" if frozen else None)


def test_old_criu_tells_by_itself_that_the_pages_can_be_had() -> None:
    flags = CriuFlags(image_path="/i", lazy_pages=True, status_fd=5)
    assert dump(config_with(), flags, version=31400)["status_fd"] == 5
    assert "status_fd" not in dump(config_with(), flags, version=31500)


def test_bind_mounts_are_external_under_where_they_are() -> None:
    config = config_with(mounts__0=DATA)
    assert dump(config)["external"] == ["mnt[/data]:/data"]
    assert restore(config)["external"] == ["mnt[/data]:/srv/data"]
    where = {"/data": "/real/data"}
    assert dump(config, mount_points=where)["external"] == ["mnt[/real/data]:/real/data"]
    assert restore(config, mount_points=where)["external"] == ["mnt[/real/data]:/srv/data"]


def test_a_relative_source_is_of_the_bundle() -> None:
    assert restore(config_with(mounts__0={**DATA, "source": "d"}))["external"] == ["mnt[/data]:/b/d"]


def test_a_pre_dump_has_no_mounts() -> None:
    flags = CriuFlags(image_path="/images", pre_dump=True)
    assert "external" not in dump(config_with(mounts__0=DATA), flags, masked_files=("/proc/kcore",))


def test_masked_files_are_the_null_device() -> None:
    config = config_with(linux__maskedPaths=["/proc/kcore", "/proc/acpi"])
    assert dump(config, masked_files=("/proc/kcore",))["external"] == ["mnt[/proc/kcore]:/dev/null"]
    assert restore(config)["external"] == ["mnt[/dev/null]:/dev/null"]


def test_devices_are_bound_in_a_user_namespace() -> None:
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config = config_with(linux__uidMappings=mapping, linux__gidMappings=mapping)
    config["linux"]["namespaces"].append({"type": "user"})
    assert "mnt[/dev/null]:/dev/null" in dump(config)["external"]
    assert "mnt[/dev/tty]:/dev/tty" in restore(config)["external"]


def test_the_cgroups_of_v1_are_bind_mounts_without_a_namespace() -> None:
    config = config_with(linux__namespaces=[{"type": "mount"}, {"type": "pid"}])
    assert dump(config, host=V1, hierarchies=("pids", "cpu,cpuacct"))["external"] == [
        "mnt[/sys/fs/cgroup/pids]:/sys/fs/cgroup/pids",
        "mnt[/sys/fs/cgroup/cpu,cpuacct]:/sys/fs/cgroup/cpu,cpuacct",
    ]
    assert restore(config, host=V1, hierarchies={"pids": "/sys/fs/cgroup/pids/c"})["external"] == [
        "mnt[/sys/fs/cgroup/pids]:/sys/fs/cgroup/pids/c"
    ]
    config["linux"]["namespaces"].append({"type": "cgroup"})
    assert "external" not in dump(config, host=V1, hierarchies=("pids",))


def test_joined_namespaces() -> None:
    config = config_with(
        linux__namespaces=[
            {"type": "mount"},
            {"type": "network", "path": "/run/netns/n"},
            {"type": "pid", "path": "/proc/7/ns/pid"},
            {"type": "ipc", "path": "/proc/7/ns/ipc"},
            {"type": "uts", "path": "/proc/7/ns/uts"},
        ]
    )
    assert dump(config, inodes={"network": 41, "pid": 42})["external"] == [
        "net[41]:extRootNetNS",
        "pid[42]:extRootPidNS",
    ]
    options = restore(config, namespace_fds={"network": 4, "pid": 5}, descriptors=["/dev/null", "pipe:[9]", ""])
    assert options["inherit_fd"] == [
        {"key": "extRootNetNS", "fd": 4},
        {"key": "extRootPidNS", "fd": 5},
        {"key": "pipe:[9]", "fd": 1},
    ]
    assert options["join_ns"] == [
        {"ns": "ipc", "ns_file": "/proc/7/ns/ipc"},
        {"ns": "uts", "ns_file": "/proc/7/ns/uts"},
    ]
    assert dump(config, inodes={"network": 41, "pid": 42})["empty_ns"] == CLONE_NEWNET
    assert "empty_ns" not in options


@pytest.mark.parametrize(("kind", "version"), [("network", 31000), ("pid", 31400)])
def test_an_external_namespace_needs_a_newer_criu(kind: str, version: int) -> None:
    config = config_with(linux__namespaces=[{"type": "mount"}, {"type": kind, "path": "/n"}])
    with pytest.raises(Error) as caught:
        dump(config, version=version, inodes={kind: 1})
    assert caught.value.pointer == "/linux/namespaces/1" and "criu 3.1" in caught.value.what


@pytest.mark.parametrize("kind", ["cgroup", "time"])
def test_a_namespace_that_criu_cannot_enter(kind: str) -> None:
    config = config_with(linux__namespaces=[{"type": "mount"}, {"type": kind, "path": "/n"}])
    with pytest.raises(Error, match=f"existing {kind} namespace"):
        restore(config)


def test_cgroups_are_restored_where_criu_is() -> None:
    roots = [("", "/c"), ("cpu,cpuacct", "/d")]
    assert restore(config_with(), cgroup_roots=roots)["cg_root"] == [
        {"ctrl": "", "path": "/c"},
        {"ctrl": "cpu,cpuacct", "path": "/d"},
    ]


def test_lsm_flags_need_a_newer_criu() -> None:
    flags = CriuFlags(image_path="/i", lsm_profile="apparmor:p", lsm_mount_context="c")
    options = restore(config_with(), flags)
    assert (options["lsm_profile"], options["lsm_mount_context"]) == ("apparmor:p", "c")
    with pytest.raises(Error, match="--lsm-profile requires"):
        restore(config_with(), flags, version=31500)


def test_the_configuration_file_of_criu() -> None:
    config = config_with()
    assert checkpoint.config_file(config, []) == ""
    assert checkpoint.config_file(config, ["/etc/criu/ocipy.conf", "/etc/criu/runc.conf"]) == "/etc/criu/ocipy.conf"
    config = config_with(annotations={"org.criu.config": "/own.conf"})
    assert checkpoint.config_file(config, ["/etc/criu/runc.conf"]) == "/own.conf"
    config = config_with(annotations={"org.criu.config": ""})
    assert checkpoint.config_file(config, ["/etc/criu/runc.conf"]) == ""
    assert restore(config_with(), CriuFlags(image_path="/i", config_file="/own.conf"))["config_file"] == "/own.conf"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", ""),
        ("tcp-established\nlog-file own.log\n", "own.log"),
        ("  log-file\t/var/log/criu.log  # where\n", "/var/log/criu.log"),
        ('log-file "a b.log" # quoted\n', "a b.log"),
        ("log-file one\nlog-file two", "two"),
        ("#log-file no\nlog-level 4\nlog-files no\nlog-file\nlog-file # no", ""),
        ("log-file x\x1cy\x85", "x\x1cy\x85"),
    ],
)
def test_the_log_that_criu_s_configuration_names(text: str, name: str) -> None:
    assert checkpoint.log_file(text) == name


def test_what_criu_would_not_restore_is_refused() -> None:
    config = config_with(linux__namespaces=[{"type": "pid"}], linux__readonlyPaths=[])
    with pytest.raises(Error) as caught:
        checkpoint.refuse(config, planned(config))
    assert caught.value.pointer == "/linux/namespaces"
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config = config_with(mounts__0={**DATA, "uidMappings": mapping, "gidMappings": mapping})
    with pytest.raises(Error) as caught:
        checkpoint.refuse(config, planned(config))
    assert caught.value.pointer == "/mounts/0"
    config = config_with(mounts__0={**DATA, "destination": "/"})
    with pytest.raises(Error) as caught:
        checkpoint.refuse(config, planned(config))
    assert caught.value.pointer == "/mounts/0"
    config = config_with()
    checkpoint.refuse(config, planned(config))


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [("127.0.0.1:27", "127.0.0.1", 27), ("host:0", "host", 0), ("[::1]:65535", "::1", 65535)],
)
def test_a_page_server(text: str, address: str, port: int) -> None:
    assert checkpoint.parse_page_server(text) == (address, port)


@pytest.mark.parametrize("text", ["host", "host:", ":27", "host:x", "host:65536", "[]:1", "host:-1"])
def test_no_page_server(text: str) -> None:
    with pytest.raises(Error, match="--page-server must be ADDRESS:PORT"):
        checkpoint.parse_page_server(text)


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("manage_cgroups_mode", "hard", "--manage-cgroups-mode"),
        ("network_lock", "x", "--network-lock"),
        ("empty_ns", ("ipc",), "--empty-ns"),
        ("parent_path", "/abs", "--parent-path must be relative"),
    ],
)
def test_invalid_flags(flag: str, value: Any, words: str) -> None:
    with pytest.raises(Error, match=words):
        checkpoint.check_flags(CriuFlags(image_path="/i", **{flag: value}))


def test_versions_as_people_write_them() -> None:
    assert [checkpoint.describe_version(number) for number in (30000, 31701, 40100)] == ["3.0", "3.17.1", "4.1"]

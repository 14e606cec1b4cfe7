"""config.json of a box."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy import Error
from ocipy.box.config import ALL_CAPABILITIES, Host, ImageConfig, Root, User, arguments_of, capabilities_of, make_config
from ocipy.box.request import Limits, Request, Volume
from ocipy.config import check

ROOT = Root("/boxes/1/root", "/images/1/rootfs", "/boxes/1/upper", "/boxes/1/work")
SHELL = ImageConfig(command=("/bin/sh",))


def config(
    image: ImageConfig = SHELL, user: User | None = None, host: Host | None = None, **asked: Any
) -> dict[str, Any]:
    request = Request("busybox", hostname="box", **asked)
    return make_config(request, image, user or User(), ROOT, host or Host(network="/proc/1/ns/net", cgroup="/box"))


def test_the_runtime_accepts_the_config() -> None:
    made = config(limits=Limits(memory=1 << 20, cpu_quota=1000, cpu_period=1000, pids=5), init=True, read_only=True)
    check.check(made)


def test_the_overlay_is_the_first_mount_and_on_the_root() -> None:
    first = config()["mounts"][0]
    assert (first["destination"], first["type"]) == ("/", "overlay")
    assert "lowerdir=/images/1/rootfs" in first["options"]


def test_safe_defaults() -> None:
    made = config()
    assert made["process"]["noNewPrivileges"] is True
    assert "CAP_SYS_ADMIN" not in made["process"]["capabilities"]["bounding"]
    assert "inheritable" not in made["process"]["capabilities"]
    assert "/proc/kcore" in made["linux"]["maskedPaths"] and "/proc/sys" in made["linux"]["readonlyPaths"]
    assert made["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert {entry["type"] for entry in made["linux"]["namespaces"]} == {
        "pid",
        "ipc",
        "uts",
        "mount",
        "cgroup",
        "network",
    }


def test_another_user_has_no_capabilities_of_its_own() -> None:
    sets = config(user=User(1000, 1000))["process"]["capabilities"]
    assert sets["effective"] == sets["permitted"] == [] and sets["bounding"]


def test_privileged_masks_nothing() -> None:
    made = config(privileged=True)
    assert "maskedPaths" not in made["linux"] and "seccomp" not in made["linux"]
    assert made["process"]["capabilities"]["bounding"] == list(ALL_CAPABILITIES)
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


@pytest.mark.parametrize(
    ("add", "drop", "has", "lacks"),
    [
        (("net_raw",), (), "CAP_NET_RAW", "CAP_SYS_ADMIN"),
        (("CAP_NET_RAW",), ("ALL",), "CAP_NET_RAW", "CAP_CHOWN"),
        (("ALL",), ("CHOWN",), "CAP_SYS_ADMIN", "CAP_NONE"),
        ((), ("CHOWN",), "CAP_KILL", "CAP_CHOWN"),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], has: str, lacks: str) -> None:
    names = capabilities_of(Request("x", cap_add=add, cap_drop=drop))
    assert has in names and lacks not in names


def test_an_unknown_capability_is_refused() -> None:
    with pytest.raises(Error, match="unknown capability"):
        capabilities_of(Request("x", cap_add=("fly",)))


def test_memory_without_swap_unless_it_is_asked_for() -> None:
    assert config(limits=Limits(memory=100))["linux"]["resources"]["memory"] == {"limit": 100, "swap": 100}
    assert config(limits=Limits(memory=100, memory_swap=300))["linux"]["resources"]["memory"]["swap"] == 300
    assert config(limits=Limits(memory=100, memory_swap=-1))["linux"]["resources"]["memory"]["swap"] == -1
    for limits in (Limits(memory=100, memory_swap=50), Limits(memory_swap=50)):
        with pytest.raises(Error):
            config(limits=limits)


def test_the_whole_box_is_killed_on_v2() -> None:
    assert config(host=Host(v2=True), limits=Limits(memory=100))["linux"]["resources"]["unified"] == {
        "memory.oom.group": "1"
    }
    assert "unified" not in config(limits=Limits(memory=100))["linux"]["resources"]


def test_the_images_user_environment_and_directory_apply() -> None:
    image = ImageConfig(("/entry",), ("arg",), ("A=1", "PATH=/x"), "/srv", "", "SIGQUIT", {"of": "image"})
    made = config(image, environment=(("A", "2"),), labels=(("of", "caller"),))
    assert made["process"]["args"] == ["/entry", "arg"]
    assert made["process"]["cwd"] == "/srv"
    assert (
        "A=2" in made["process"]["env"] and "PATH=/x" in made["process"]["env"] and "A=1" not in made["process"]["env"]
    )
    assert made["annotations"] == {"of": "caller"}


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (None, (), ("/entry", "arg")),
        (None, ("other",), ("/entry", "other")),
        (("/mine",), (), ("/mine",)),
        ((), ("other",), ("other",)),
    ],
)
def test_entrypoint_and_command(
    entrypoint: tuple[str, ...] | None, command: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    image = ImageConfig(entrypoint=("/entry",), command=("arg",))
    assert arguments_of(Request("x", entrypoint=entrypoint, command=command), image) == expected


def test_no_command_at_all_is_refused() -> None:
    with pytest.raises(Error, match="no command"):
        arguments_of(Request("x"), ImageConfig())


def test_volumes_come_last_and_without_selinux_words() -> None:
    made = config(volumes=(Volume("/a", "/b", ("ro", "Z")),), tmpfs=(("/tmp", "size=1m"),))
    assert made["mounts"][-1] == {"destination": "/b", "type": "bind", "source": "/a", "options": ["rbind", "ro"]}
    assert made["mounts"][-2]["destination"] == "/tmp" and "size=1m" in made["mounts"][-2]["options"]


def test_the_hosts_network_shares_the_hosts_sysfs_read_only() -> None:
    made = config(host=Host(network="host"))
    sysfs = next(mount for mount in made["mounts"] if mount["destination"] == "/sys")
    assert "rro" in sysfs["options"] and "sysctl" not in made["linux"]
    assert "network" not in {entry["type"] for entry in made["linux"]["namespaces"]}

"""The nodes of linux.devices and the default devices: type, number, mode and owner, also in a user namespace."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Result, Runtime

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]
Shell = Callable[..., Result]

LOOK = "stat -c '%n %F %a %u:%g %t:%T'"


def zero(path: str, **members: Any) -> dict[str, Any]:
    """/dev/zero under another path; every host has that device."""
    return {"path": path, "type": "c", "major": 1, "minor": 5, **members}


class TestUserNamespace:
    """mknod(2) fails there, so the host creates the nodes."""

    @pytest.mark.differs_from_runc("runc binds the host's, or refuses the device")
    def test_mode_and_owner_are_those_of_the_config(self, sh: Shell, bundle: Bundle) -> None:
        bundle.user_namespace()
        bundle.linux["devices"] = [
            zero("/dev/zero", fileMode=0o640, uid=7, gid=8),
            zero("/dev/not/on/the/host", fileMode=0o20604, uid=9),
            zero("/dev/more"),
        ]
        bundle.linux["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
        script = f"{LOOK} /dev/zero /dev/not/on/the/host /dev/more /dev/null; head -c 3 /dev/more | od -An -tx1"
        result = sh(script, bundle).ok()
        assert result.lines == [
            "/dev/zero character special file 640 7:8 1:5",
            "/dev/not/on/the/host character special file 604 9:0 1:5",
            "/dev/more character special file 666 0:0 1:5",
            "/dev/null character special file 666 0:0 1:3",
            " 00 00 00",
        ]
        assert result.stderr == ""

    @pytest.mark.ocipy_only("runc's nodes are the host's own")
    def test_a_container_node_is_not_a_host_inode(self, sh: Shell, bundle: Bundle) -> None:
        """Changes by the container's root stay in the container."""
        bundle.user_namespace().capabilities("CAP_CHOWN")
        before = [os.stat(f"/dev/{name}") for name in ("null", "zero")]
        sh("chmod 600 /dev/null && chown 5 /dev/zero && stat -c '%a %u' /dev/null /dev/zero", bundle).ok()
        after = [os.stat(f"/dev/{name}") for name in ("null", "zero")]
        assert [(s.st_mode, s.st_uid, s.st_ctime_ns) for s in before] == [
            (s.st_mode, s.st_uid, s.st_ctime_ns) for s in after
        ]

    @pytest.mark.ocipy_only("runc's nodes are the host's own")
    def test_the_ids_are_those_of_a_joined_user_namespace(self, sh: Shell, bundle: Bundle) -> None:
        bundle.user_namespace()
        with subprocess.Popen(["unshare", "-U", "sh", "-c", "echo; read x"], stdin=-1, stdout=-1, text=True) as holder:
            assert holder.stdout is not None and holder.stdin is not None
            holder.stdout.readline()
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{holder.pid}/{name}").write_text("0 100000 20\n20 200000 1000\n")
            bundle.linux["namespaces"][-1]["path"] = f"/proc/{holder.pid}/ns/user"
            # podman's owners for a container in a pod: they are not those of the namespace.
            for name in ("uidMappings", "gidMappings"):
                bundle.linux[name] = [{"containerID": 0, "hostID": 0, "size": 1}]
            bundle.linux["devices"] = [zero("/dev/here", fileMode=0o600, uid=21, gid=3)]
            result = sh(f"{LOOK} /dev/here /dev/null", bundle).ok()
            holder.stdin.close()
        assert result.lines == [
            "/dev/here character special file 600 21:3 1:5",
            "/dev/null character special file 666 0:0 1:3",
        ]

    @pytest.mark.ocipy_only("runc ignores the owner")
    def test_an_owner_that_the_namespace_does_not_map_is_reported(self, sh: Shell, bundle: Bundle) -> None:
        bundle.user_namespace(size=1000)
        bundle.linux["devices"] = [zero("/dev/here", gid=1000)]
        result = sh(f"{LOOK} /dev/here", bundle).ok()
        assert result.lines == ["/dev/here character special file 666 0:65534 1:5"]
        assert "/linux/devices/0/gid" in result.stderr

    @pytest.mark.ocipy_only("runc does not look")
    @pytest.mark.parametrize("kind", ["c", "b"])
    def test_a_bound_node_is_verified(self, runtime: Runtime, bundle: Bundle, new_id: NewId, kind: str) -> None:
        """An error results if the host's device at that path has another number, or another type with this number."""
        bundle.user_namespace()
        bundle.linux["devices"] = [{"path": "/dev/full", "type": kind, "major": 1, "minor": 3 if kind == "c" else 7}]
        bundle.write()
        without = ["setpriv", "--bounding-set", "-mknod", "--inh-caps", "-mknod"]
        result = runtime.call("run", "--bundle", bundle.path, new_id(), prefix=without)
        result.fails("/linux/devices/0", "/dev/full on the host is not the device " + kind)

    @pytest.mark.ocipy_only("the words are ocipy's")
    def test_a_bound_node_with_another_mode_is_reported(self, runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
        bundle.user_namespace()
        bundle.linux["devices"] = [zero("/dev/zero", fileMode=0o640)]
        bundle.sh(f"{LOOK} /dev/zero").write()
        without = ["setpriv", "--bounding-set", "-mknod", "--inh-caps", "-mknod"]
        result = runtime.call("run", "--bundle", bundle.path, new_id(), prefix=without).ok()
        assert result.lines == ["/dev/zero character special file 666 65534:65534 1:5"]
        assert "its mode is 0666, not 0640" in result.stderr


@pytest.mark.ocipy_only("a private part of ocipy")
def test_nodes_can_be_bound_if_a_detached_filesystem_cannot_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux before 6.15."""
    from ocipy.host import devices
    from ocipy.init.mounts import make_filesystem

    directory = make_filesystem("tmpfs", "devices", 0, (), ("nr_inodes=3",), "")
    for minor, name in ((3, "null"), (5, "zero")):
        os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(1, minor), dir_fd=directory)
    mounts = devices._mounts_by_child(directory, ("null", "zero"))
    assert [os.stat(fd).st_rdev for fd in mounts] == [os.makedev(1, 3), os.makedev(1, 5)]
    for fd in (*mounts, directory):
        os.close(fd)


class TestNull:
    """/dev/null of the host and the container, which covers files and replaces closed and discarded streams."""

    # In a new mount namespace, with a /dev that contains only the nodes that the words create.
    WITHOUT = ("unshare", "--mount", "--propagation", "private", "sh", "-c")

    def run(self, runtime: Runtime, bundle: Bundle, container_id: str, script: str) -> Result:
        bundle.write()
        prefix = [*self.WITHOUT, f'mount -t tmpfs dev /dev; {script}; exec "$@"', "sh"]
        with open("/etc/passwd", "rb") as stdin:
            return runtime.call("run", "--bundle", bundle.path, container_id, prefix=prefix, stdin=stdin)

    @pytest.mark.ocipy_only("the words are ocipy's")
    @pytest.mark.parametrize(
        "script",
        [
            "mknod -m 666 /dev/null c 1 5",
            "mknod -m 666 /dev/null b 1 3",
            ": > /dev/null",
            "ln -s /etc/passwd /dev/null",
        ],
    )
    def test_only_the_real_null_device_of_the_host_covers_files(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, script: str
    ) -> None:
        """CVE-2025-31133: a fake null device would be readable and writable in place of the masked file."""
        self.run(runtime, bundle, new_id(), script).fails("/linux/maskedPaths", "is not the null device")

    @pytest.mark.ocipy_only("the words are ocipy's")
    def test_a_host_without_dev_null_is_reported(self, runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
        self.run(runtime, bundle, new_id(), ":").fails("/linux/maskedPaths", "/dev/null", "No such file")
        self.run(runtime, bundle, new_id(), "exec 0<&-").fails("/dev/null", "closed standard stream")

    @pytest.mark.ocipy_only("the words are ocipy's")
    def test_a_configured_dev_null_without_a_device_rule_is_reported(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId
    ) -> None:
        bundle.linux["devices"] = [zero("/dev/zero"), {"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]
        result = runtime.run(bundle.args("true"), new_id())
        result.fails("/linux/devices/1", "/dev/null", "linux.resources.devices allows c 1:3")


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.smoke
def test_default_devices(sh: Shell, bundle: Bundle, user: bool) -> None:
    if user:
        bundle.user_namespace()
    script = "stat -c '%n %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; echo hi > /dev/null;"
    links = "for name in ptmx fd stdin stdout stderr; do readlink /dev/$name; done"
    assert sh(script + links, bundle).ok().lines == [
        "/dev/null 1:3",
        "/dev/zero 1:5",
        "/dev/full 1:7",
        "/dev/random 1:8",
        "/dev/urandom 1:9",
        "/dev/tty 5:0",
        "pts/ptmx",
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
    ]


def test_devices_of_the_config(sh: Shell, bundle: Bundle) -> None:
    bundle.linux["devices"] = [
        {"path": "/dev/deep/loop", "type": "b", "major": 7, "minor": 9, "fileMode": 0o60640, "uid": 1, "gid": 2},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
    ]
    result = sh("stat -c '%F %a %u:%g %t:%T' /dev/deep/loop; stat -c '%F %a' /dev/pipe", bundle).ok()
    assert result.lines == ["block special file 640 1:2 7:9", "fifo 600"]


@pytest.mark.differs_from_runc("it takes whatever is there for the device")
def test_a_file_in_the_place_of_a_device(runtime: Runtime, make_bundle: MakeBundle, new_id: NewId) -> None:
    """config-linux.md, Devices: MUST generate an error."""
    bundle = make_bundle(hardlinks=False)
    bundle.config["root"]["readonly"] = False
    bundle.file("/srv/device", "a file")
    bundle.linux["devices"] = [{"path": "/srv/device", "type": "c", "major": 1, "minor": 3}]
    runtime.run(bundle.args("true"), new_id()).fails("device")


def test_streams_from_null_are_the_containers(container: MakeContainer, bundle: Bundle) -> None:
    one = container(bundle.args("sleep", "100"), stdin=None).start()
    link = one.proc("fd/0")
    about, inside = link.stat(), one.proc("root/dev/null").stat()
    assert stat.S_ISCHR(about.st_mode)
    assert (about.st_dev, about.st_ino) == (inside.st_dev, inside.st_ino)

"""Filesystems and devices where the kernel gives a user less than root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, parse_mountinfo
from tests.harness.user import UserRuntime

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]

pytestmark = pytest.mark.unprivileged

DEVICES = {
    "/dev/null": (1, 3), "/dev/zero": (1, 5), "/dev/full": (1, 7), "/dev/random": (1, 8), "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
}  # fmt: skip


def mount_of(bundle: Bundle, destination: str) -> dict[str, Any]:
    """The entry of mounts for this destination."""
    found: dict[str, Any] = next(one for one in bundle.config["mounts"] if one["destination"] == destination)
    return found


def sysfs(bundle: Bundle, *options: str) -> None:
    """Ask for a sysfs, as a config not written for unprivileged users does."""
    entry = mount_of(bundle, "/sys")
    entry.update(type="sysfs", source="sysfs", options=["nosuid", "noexec", "nodev", *options])


@pytest.mark.smoke
def test_filesystems(container: MakeContainer, bundle: Bundle) -> None:
    """Each except /sys is new, created in the container's user namespace."""
    one = container(bundle, args=["sleep", "1000"]).start()
    kinds = {"/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs", "/dev/mqueue": "mqueue"}
    assert {point: one.mount_at(point).fstype for point in kinds} == kinds
    assert "ro" in one.mount_at("/").options
    assert one.mount_at("/sys").fstype == "sysfs"


def test_devices_are_the_hosts(container: MakeContainer, bundle: Bundle) -> None:
    """mknod(2) is refused, so the host's nodes are bound: the same number, each on a separate mount."""
    script = "for d in null zero full random urandom tty; do stat -c '%n %t %T' /dev/$d; done; exec sleep 1000"
    one = container(bundle, sh=script).start()  # before the start it is not dumpable, and only root can see its files
    for path, number in DEVICES.items():
        status = one.root(path).stat()
        assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == number
        assert one.mount_at(path).fstype == "devtmpfs" or one.mount_at(path).root.lstrip("/") == Path(path).name
    one.wait_output("/dev/tty 5 0\n")
    assert one.stdout.splitlines() == [f"{path} {major:x} {minor:x}" for path, (major, minor) in DEVICES.items()]


def test_device_of_the_config(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    device = {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}
    bundle.linux["devices"] = [device]
    bundle.sh("stat -c '%t %T' /dev/kmsg; stat -c %a /dev/kmsg")
    lines = runtime.run(bundle, new_id()).ok().lines
    assert lines[0] == "1 b"
    assert lines[1] == f"{os.stat('/dev/kmsg').st_mode & 0o777:o}", "the node is the host's, and so is its mode"


def test_device_that_the_host_lacks(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["devices"] = [{"path": "/dev/no-such", "type": "c", "major": 1, "minor": 11}]
    runtime.create(bundle.args("true"), new_id()).fails("/dev/no-such", "no such file")
    assert runtime.ids() == []


@pytest.mark.differs_from_runc("runc binds whatever is there")
def test_host_device_with_another_number(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["devices"] = [{"path": "/dev/zero", "type": "c", "major": 1, "minor": 3}]
    runtime.create(bundle.args("true"), new_id()).fails("/linux/devices/0", "is not the device c 1:3")


def test_the_hosts_cgroups_are_read_only(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """CVE-2023-25809: even if nothing is mounted over the host's tree."""
    script = "mkdir /sys/fs/cgroup/new /sys/fs/cgroup/*/new 2>/dev/null && echo made; echo end"
    assert runtime.run(bundle.sh(script), new_id()).ok().stdout == "end\n"


@pytest.mark.differs_from_runc("runc has no fallback for sysfs in a user namespace")
def test_sysfs_without_a_network_namespace(container: MakeContainer, bundle: Bundle) -> None:
    """The kernel refuses a new one: the host's is bound read-only, with all of its submounts (CVE-2023-25809)."""
    sysfs(bundle, "ro")
    bundle.without_mount("/sys/fs/cgroup")
    one = container(bundle, sh="ls /sys/class; mkdir /sys/fs/cgroup/new /sys/fs/cgroup/*/new; exec sleep 1000")
    below = [mount for mount in one.mounts() if mount.point == "/sys" or mount.point.startswith("/sys/fs")]
    assert len(below) > 1
    assert [mount.point for mount in below if not {"ro", "nosuid", "nodev", "noexec"} <= set(mount.options)] == []


def test_writable_sysfs_without_a_network_namespace(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """The host's would not have the requested options."""
    sysfs(bundle, "rw")
    runtime.create(bundle.args("true"), new_id()).fails("sysfs", "operation not permitted")


def test_sysfs_with_a_network_namespace(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """Then it is new, without the host's interfaces."""
    sysfs(bundle, "ro")
    bundle.linux["namespaces"].append({"type": "network"})
    assert runtime.run(bundle.sh("ls /sys/class/net"), new_id()).ok().lines == ["lo"]


def test_loopback(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["namespaces"].append({"type": "network"})
    assert "UP" in runtime.run(bundle.sh("ip -o link show lo"), new_id()).ok().stdout


def test_sysctl(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """The sysctls of the container's own namespaces, through the host's procfs."""
    bundle.linux["namespaces"].append({"type": "network"})
    bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "77", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "20"}
    names = "net/ipv4/ip_default_ttl kernel/shm_rmid_forced fs/mqueue/msg_max"
    before = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    assert runtime.run(bundle.sh(f"cd /proc/sys; cat {names}"), new_id()).ok().lines == ["77", "1", "20"]
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == before


def test_tmpfs_options(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    bundle.mount("/etc", "tmpfs", "tmpcopyup", "size=1m", "ro", type="tmpfs")
    result = runtime.run(
        bundle.sh("grep -c user /etc/passwd; stat -c %u /etc/passwd; touch /etc/new || echo ro"), new_id()
    )
    assert result.ok().lines == ["1", "0", "ro"]


def test_bind_of_the_users_files(runtime: UserRuntime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    for name in ("writable", "readonly"):
        (work / name).mkdir()
        runtime.give(work / name)
    bundle.mount("/home", str(work / "writable")).mount("/tmp", str(work / "readonly"), "ro")
    runtime.run(bundle.sh("touch /home/made; touch /tmp/made || echo refused"), new_id()).ok()
    assert (work / "writable/made").stat().st_uid == runtime.uid
    assert not (work / "readonly/made").exists()


def test_bind_of_other_users_files(runtime: UserRuntime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    """The container's root has no privileges over files of other users, however they get there."""
    theirs = Path("/etc")
    if os.geteuid() == 0:  # the host's files are on a read-only mount, where writes fail anyway
        theirs = work / "of-root"
        theirs.mkdir(mode=0o755)
        (theirs / "passwd").touch(0o644)
        (theirs / "shadow").touch(0o600)
    bundle.mount("/home", str(theirs))
    script = "cat /home/shadow; touch /home/new; stat -c %u /home/passwd"
    result = runtime.run(bundle.sh(script), new_id()).ok()
    assert result.stdout == "65534\n"
    assert result.stderr.lower().count("permission denied") == 2


@pytest.fixture
def locked(work: Path) -> Iterator[Path]:
    """A host mount with options that a user namespace cannot remove."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    place = work / "locked"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,nosuid,nodev,noexec,mode=755", "none", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_locked_options_stay(container: MakeContainer, bundle: Bundle, locked: Path) -> None:
    one = container(bundle.mount("/home", str(locked)).args("true"))
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(one.mount_at("/home").options)


@pytest.mark.parametrize("option", ["rw", "suid", "dev", "exec"])
def test_a_locked_option_cannot_be_removed(
    runtime: UserRuntime, bundle: Bundle, new_id: NewId, locked: Path, option: str
) -> None:
    runtime.create(bundle.mount("/home", str(locked), option).args("true"), new_id()).fails()
    assert runtime.ids() == []


@pytest.fixture
def covered(runtime: UserRuntime) -> UserRuntime:
    """The runtime with mounts over parts of /proc, as in an engine's container."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    cover = 'mount -t tmpfs none /proc/fs; mount --bind /proc/sys /proc/sys; exec "$@"'
    runtime.user = ["unshare", "-m", "sh", "-c", cover, "sh", *runtime.user]
    return runtime


def test_no_procfs_if_the_hosts_is_covered(covered: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """The kernel refuses a new one, which would reveal files that the mounts hide (mount_namespaces(7))."""
    words = ["/mounts/0", "operation not permitted", "covered"] if covered.is_ocipy else ["operation not permitted"]
    covered.create(bundle.args("true"), new_id()).fails(*words)


def test_procfs_of_the_host_bound(covered: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """The alternative, and the runtime's own procfs: a bind mount with all submounts."""
    bundle.without_namespace("pid")
    mount_of(bundle, "/proc").update(type="bind", source="/proc", options=["rbind"])
    result = covered.run(bundle.sh("cat /proc/self/mountinfo; ls -A /proc/fs >&2"), new_id()).ok()
    assert {"/proc", "/proc/fs", "/proc/sys"} <= {mount.point for mount in parse_mountinfo(result.stdout)}
    assert "jbd2" not in result.stderr


@pytest.mark.ocipy_only("the words are ocipy's")
def test_sysctl_if_the_hosts_procfs_is_covered(covered: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """Nothing is written through a foreign mount (CVE-2025-52881)."""
    bundle.linux["namespaces"].append({"type": "network"})
    bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    mount_of(bundle, "/proc").update(type="bind", source="/proc", options=["rbind"])
    result = covered.create(bundle.args("true"), new_id())
    result.fails("/linux/sysctl/net.ipv4.ip_default_ttl", "mounted over /proc/sys")

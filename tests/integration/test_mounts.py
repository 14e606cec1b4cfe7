"""Mounts, root, devices and covered paths of whole containers, from inside and outside, also compared with runc.

test_mount_steps.py and test_mount_steps_of_kinds.py test each step in every case.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Host, Mount, Result, Runtime, parse_mountinfo
from tests.harness.host import umount

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]
RunScript = Callable[..., Result]

MOUNTINFO = "cat /proc/self/mountinfo"


def _mounts(result: Result) -> dict[str, Mount]:
    """The topmost mount at each point."""
    return {mount.point: mount for mount in parse_mountinfo(result.ok().stdout)}


@pytest.fixture
def volume(work: Path) -> Iterator[Path]:
    """A shared tmpfs that contains another one, at "below"."""
    path = work / "volume"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "volume", path], check=True)
    subprocess.run(["mount", "--make-shared", path], check=True)
    (path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", path / "below"], check=True)
    (path / "file").write_text("of the volume")
    yield path
    umount(str(path))


@pytest.mark.smoke
def test_the_default_mounts(sh: RunScript) -> None:
    mounts = _mounts(sh(MOUNTINFO))
    kinds = {point: mounts[point].fstype for point in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys")}
    assert kinds == {
        "/proc": "proc",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
        "/sys": "sysfs",
    }
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mounts["/sys"].options)
    assert {"nosuid"} <= set(mounts["/dev"].options)
    assert "relatime" not in mounts["/dev"].options
    assert {"gid=5", "mode=620", "ptmxmode=666"} <= set(mounts["/dev/pts"].super_options)
    assert {"size=65536k"} <= set(mounts["/dev/shm"].super_options)


def test_the_host_sees_none_of_them(container: MakeContainer, bundle: Bundle) -> None:
    one = container(bundle.args("sleep", "100"))
    assert str(bundle.rootfs) not in Path("/proc/self/mountinfo").read_text()
    assert not any(str(bundle.rootfs) in mount.point for mount in parse_mountinfo(one.proc("mountinfo").read_text()))


@pytest.mark.parametrize("flags", [(), ("--no-pivot",)])
def test_nothing_of_the_host_is_left_inside(sh: RunScript, bundle: Bundle, flags: tuple[str, ...]) -> None:
    bundle.linux["maskedPaths"] = []
    bundle.linux["readonlyPaths"] = []
    points = set(_mounts(sh(MOUNTINFO, bundle, *flags)))
    expected = {"/", *(mount["destination"] for mount in bundle.config["mounts"])}
    assert {point for point in points if not point.startswith("/sys/fs/cgroup/")} == expected


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["ro"], {"ro", "relatime"}),
        (["nosuid", "nodev", "noexec"], {"rw", "nosuid", "nodev", "noexec", "relatime"}),
        (["noatime", "nodiratime"], {"rw", "noatime", "nodiratime"}),
        (["strictatime"], {"rw"}),
        (["nosymfollow"], {"rw", "nosymfollow", "relatime"}),
        (["ro", "rw", "noexec", "exec"], {"rw", "relatime"}),
        (["lazytime", "silent", "iversion"], {"rw", "relatime"}),
    ],
)
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_flags(sh: RunScript, bundle: Bundle, volume: Path, words: list[str], shown: set[str], kind: str) -> None:
    bundle.mount("/mnt", str(volume) if kind == "bind" else "tmpfs", *words, type=kind)
    assert set(_mounts(sh(MOUNTINFO, bundle))["/mnt"].options) == shown


@pytest.mark.parametrize("below", [False, True])
def test_rro_applies_to_the_whole_tree(sh: RunScript, bundle: Bundle, volume: Path, below: bool) -> None:
    bundle.mount("/mnt", str(volume), "rbind", "rro" if below else "ro")
    mounts = _mounts(sh(MOUNTINFO, bundle))
    assert "ro" in mounts["/mnt"].options
    assert ("ro" in mounts["/mnt/below"].options) == below


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["master"]),
        (["rslave"], ["master"]),
        (["rprivate"], []),
        (["rshared"], ["master", "shared"]),
        (["unbindable"], ["unbindable"]),
        (["private"], []),
    ],
)
def test_propagation(sh: RunScript, bundle: Bundle, volume: Path, words: list[str], expected: list[str]) -> None:
    bundle.mount("/mnt", str(volume), *words)
    mount = _mounts(sh(MOUNTINFO, bundle))["/mnt"]
    assert sorted(word.split(":")[0] for word in mount.propagation) == expected


@pytest.mark.parametrize("kind", ["bind", "rbind"])
def test_a_mount_made_on_the_host_later_arrives_in_a_slave(
    container: MakeContainer, bundle: Bundle, volume: Path, kind: str
) -> None:
    (volume / "late").mkdir()
    bundle.mount("/mnt", str(volume), kind, "rslave")
    one = container(bundle.args("sleep", "100")).start()
    subprocess.run(["mount", "-t", "tmpfs", "late", volume / "late"], check=True)
    assert "/mnt/late" in [mount.point for mount in parse_mountinfo(one.proc("mountinfo").read_text())]


def test_a_mount_made_inside_arrives_on_the_host_if_all_is_shared(
    runtime: Runtime, bundle: Bundle, volume: Path, new_id: NewId
) -> None:
    (volume / "inner").mkdir()
    bundle.linux["rootfsPropagation"] = "rshared"
    bundle.linux.pop("seccomp", None)
    bundle.capabilities("CAP_SYS_ADMIN")
    bundle.mount("/mnt", str(volume), "rshared")
    runtime.run(bundle.sh("mount -t tmpfs inner /mnt/inner"), new_id()).ok()
    assert str(volume / "inner") in [mount.point for mount in parse_mountinfo(Path("/proc/self/mountinfo").read_text())]


@pytest.mark.parametrize("kind", ["private", "slave", "shared", "unbindable", "rprivate", "rslave", "rshared"])
def test_rootfs_propagation(sh: RunScript, bundle: Bundle, kind: str) -> None:
    bundle.linux["rootfsPropagation"] = kind
    words = {word.split(":")[0] for word in _mounts(sh(MOUNTINFO, bundle))["/"].propagation}
    assert words - {"master"} == {"shared": {"shared"}, "rshared": {"shared"}, "unbindable": {"unbindable"}}.get(
        kind, set()
    )


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("rslave", ["rshared"], ["master", "shared"]),
        ("rslave", [], ["master"]),
        ("rslave", ["rprivate"], []),
        ("rprivate", ["rshared"], ["shared"]),
        ("rprivate", [], []),
        ("rshared", ["rslave"], ["master"]),
        ("rshared", ["rprivate"], []),
        ("rshared", [], ["shared"]),
        ("shared", ["rslave"], ["master"]),
    ],
)
def test_a_mount_keeps_its_propagation_whatever_the_roots_is(
    sh: RunScript, bundle: Bundle, volume: Path, kind: str, words: list[str], expected: list[str]
) -> None:
    """rootfsPropagation applies to the root, also with an "r" (kubelet, Docker in Docker)."""
    bundle.linux["rootfsPropagation"] = kind
    bundle.mount("/mnt", str(volume), *words)
    mounts = _mounts(sh(MOUNTINFO, bundle))
    assert sorted(word.split(":")[0] for word in mounts["/mnt"].propagation) == expected
    assert mounts["/dev/shm"].propagation == ()


@pytest.mark.ocipy_only("runc does not open sources that the user namespace's root cannot reach")
@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [("rslave", ["rshared"], ["master", "shared"]), ("rslave", [], ["master"]), ("rprivate", [], []),
     ("slave", ["rshared"], ["master", "shared"]), ("runbindable", ["rshared"], ["shared"])],
)  # fmt: skip
def test_a_mount_that_the_host_has_opened_keeps_its_own_propagation_too(
    sh: RunScript, bundle: Bundle, volume: Path, kind: str, words: list[str], expected: list[str]
) -> None:
    bundle.user_namespace()
    (bundle.rootfs / "mnt").mkdir(exist_ok=True)
    bundle.linux["rootfsPropagation"] = kind
    bundle.mount("/mnt", str(volume), *words)
    found = _mounts(sh(MOUNTINFO, bundle))["/mnt"].propagation
    assert sorted(word.split(":")[0] for word in found) == expected


def test_an_empty_propagation_of_the_root_is_absent(sh: RunScript, bundle: Bundle) -> None:
    bundle.linux["rootfsPropagation"] = ""
    assert sh("echo runs", bundle).ok().stdout == "runs\n"


def test_tmpcopyup(sh: RunScript, bundle: Bundle) -> None:
    bundle.mount("/etc", "tmpfs", "tmpcopyup", "mode=755", type="tmpfs")
    result = sh("cat /etc/group; echo x > /etc/new && cat /etc/new", bundle).ok()
    assert result.lines == [*(bundle.rootfs / "etc/group").read_text().splitlines(), "x"]
    assert not (bundle.rootfs / "etc/new").exists()


def test_mounts_are_made_in_their_order(sh: RunScript, bundle: Bundle, volume: Path) -> None:
    """One is below another, and one on top of another, where the last one is visible."""
    bundle.mount("/mnt", "tmpfs", "mode=700", type="tmpfs").mount("/mnt/volume", str(volume))
    bundle.mount("/srv", str(volume)).mount("/srv", "tmpfs", "mode=711", type="tmpfs")
    result = sh("stat -c %a /mnt /srv; ls /srv; ls -d /mnt/volume/file", bundle).ok()
    assert result.lines == ["700", "711", "/mnt/volume/file"]


@pytest.mark.parametrize("readonly", [False, True])
def test_root_readonly(sh: RunScript, bundle: Bundle, readonly: bool) -> None:
    bundle.config["root"]["readonly"] = readonly
    result = sh("touch /new 2>/dev/null && echo writable; touch /dev/shm/new && echo shm", bundle).ok()
    assert result.lines == (["shm"] if readonly else ["writable", "shm"])
    assert (bundle.rootfs / "new").exists() != readonly


def test_mode_of_a_tmpfs(sh: RunScript, bundle: Bundle) -> None:
    """The mode of the covered directory; the kernel's default if there was none."""
    (bundle.rootfs / "there").mkdir()
    (bundle.rootfs / "there").chmod(0o710)
    bundle.mount("/there", "tmpfs", type="tmpfs").mount("/new/one", "tmpfs", type="tmpfs")
    assert sh("stat -c %a /there /new/one", bundle).ok().lines == ["710", "1777"]


def test_a_readonly_tmpfs_and_dev_still_get_their_contents(sh: RunScript, bundle: Bundle) -> None:
    next(mount for mount in bundle.config["mounts"] if mount["destination"] == "/dev")["options"].append("ro")
    bundle.mount("/mnt", "tmpfs", "ro", type="tmpfs").mount("/mnt/below", "tmpfs", type="tmpfs")
    result = sh("ls -l /dev/null > /mnt/below/x; test -c /dev/zero && cat /proc/self/mountinfo", bundle)
    mounts = _mounts(result)
    assert "ro" in mounts["/dev"].options
    assert "ro" in mounts["/mnt"].options
    assert "rw" in mounts["/mnt/below"].options


def test_a_source_that_is_missing_is_named(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.mount("/data", "/srv/no-such-source")
    result = runtime.run(bundle.args("true"), new_id()).fails("/srv/no-such-source", "no such file or directory")
    if runtime.is_ocipy:
        first, second = result.stderr.splitlines()[-2:]
        assert first.endswith(": /mounts/7: cannot bind /srv/no-such-source on /data: No such file or directory")
        assert second == "  the source does not exist on the host; create it or remove the mount"


@pytest.mark.ocipy_only("compares our error texts")
@pytest.mark.parametrize(
    ("fstype", "source", "options", "line", "hint"),
    [
        ("ext4", "/dev/no-such", (), "cannot mount ext4 on /data: No such file or directory", "/dev/no-such"),
        ("tmpfs", "tmpfs", ("size=x",), "tmpfs does not accept the option size=x: Invalid argument", "Bad value for"),
        ("no-such", "none", (), "cannot mount no-such on /data: No such device", "/proc/filesystems"),
    ],
)
def test_the_error_says_why_a_filesystem_cannot_be_mounted(
    runtime: Runtime,
    bundle: Bundle,
    new_id: NewId,
    fstype: str,
    source: str,
    options: tuple[str, ...],
    line: str,
    hint: str,
) -> None:
    bundle.mount("/data", source, *options, type=fstype)
    result = runtime.run(bundle.args("true"), new_id()).fails()
    first, second = result.stderr.splitlines()[-2:]
    assert first.endswith(": /mounts/7: " + line)
    assert hint in second


def test_files_are_bound_on_files_that_are_made(sh: RunScript, bundle: Bundle, volume: Path) -> None:
    bundle.mount("/etc/deep/er/file", str(volume / "file"), "ro")
    assert sh("cat /etc/deep/er/file", bundle).ok().stdout == "of the volume"
    assert (bundle.rootfs / "etc/deep/er/file").read_text() == ""


@pytest.mark.ocipy_only("runc needs the directories above to be searchable for the container's root")
def test_sources_and_root_behind_closed_directories(sh: RunScript, bundle: Bundle, volume: Path, work: Path) -> None:
    bundle.file("/mnt", "")  # the container's root cannot create files in the root filesystem
    bundle.user_namespace().mount("/mnt", str(volume / "file"), "ro")
    work.chmod(0o700)
    assert sh("cat /mnt", bundle).ok().stdout == "of the volume"


def _needs_mapped_tmpfs(host: Host) -> None:
    if host.kernel < (6, 3):
        pytest.skip("tmpfs supports idmapped mounts since Linux 6.3")


@pytest.mark.parametrize("word", ["idmap", "ridmap"])
def test_idmap(sh: RunScript, bundle: Bundle, volume: Path, host: Host, word: str) -> None:
    _needs_mapped_tmpfs(host)
    os.chown(volume / "file", 3, 4)
    bundle.mount("/mnt", str(volume), word)
    maps = [{"containerID": 0, "hostID": 7000, "size": 100}]
    bundle.config["mounts"][-1].update(uidMappings=maps, gidMappings=maps)
    result = sh("stat -c %u:%g /mnt/file /mnt/below", bundle).ok()
    assert result.lines == ["7003:7004", "7000:7000" if word == "ridmap" else "0:0"]


def test_idmap_of_the_containers_user_namespace(sh: RunScript, bundle: Bundle, volume: Path, host: Host) -> None:
    _needs_mapped_tmpfs(host)
    os.chown(volume / "file", 3, 4)
    (bundle.rootfs / "mnt").mkdir()
    bundle.user_namespace().mount("/mnt", str(volume), "idmap")
    maps = bundle.linux["uidMappings"]
    bundle.config["mounts"][-1].update(uidMappings=maps, gidMappings=maps)
    assert sh("stat -c %u:%g /mnt/file", bundle).ok().stdout == "3:4\n"


@pytest.mark.parametrize("joined", [False, True])
def test_the_message_queues_belong_to_root_of_a_new_user_namespace(
    container: MakeContainer, make_bundle: Callable[[], Bundle], joined: bool
) -> None:
    """mq_overview(7): /dev/mqueue belongs to the creator of the IPC namespace."""
    bundle = make_bundle().user_namespace()
    if joined:
        other = container(make_bundle().args("sleep", "100")).start()
        for entry in bundle.linux["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = f"/proc/{other.pid}/ns/net"
    one = container(bundle, sh="stat -c '%u %g %a' /dev/mqueue; echo end; exec sleep 100").start()
    assert one.wait_output("end").splitlines()[0] == "0 0 1777"
    assert one.namespace("ipc") != os.readlink("/proc/self/ns/ipc")


@pytest.mark.ocipy_only("runc mounts nothing without a mount namespace")
def test_without_a_mount_namespace(
    runtime: Runtime, bundle: Bundle, new_id: NewId, assert_nothing_left: Callable[[], None]
) -> None:
    """The mounts are on the host, and delete removes them; so does a failing create."""
    bundle.without_namespace("mount")
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = None
    points = list(_mounts(runtime.run(bundle.sh(MOUNTINFO), new_id())))
    assert "/proc" in points
    assert_nothing_left()
    runtime.run(bundle.args("/no/such/command"), new_id()).fails()
    assert_nothing_left()
    bundle.linux["maskedPaths"] = ["/proc/kcore"]
    runtime.run(bundle.args("true"), new_id()).fails("mount namespace")


@pytest.mark.differs_from_runc("it pivots there, which changes the root of the others")
def test_a_joined_mount_namespace_keeps_its_root(container: MakeContainer, make_bundle: MakeBundle, work: Path) -> None:
    """Other processes use it, and their root does not change."""
    with subprocess.Popen(["unshare", "--mount", "sleep", "100"]) as other:
        try:
            bundle = make_bundle()
            for entry in bundle.linux["namespaces"]:
                if entry["type"] == "mount":
                    entry["path"] = f"/proc/{other.pid}/ns/mnt"
            while os.readlink(f"/proc/{other.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
                pass
            one = container(bundle.sh("ls /; exec sleep 100")).start()
            one.wait_output("tmp")
            assert one.namespace("mnt") == os.readlink(f"/proc/{other.pid}/ns/mnt")
            assert Path(f"/proc/{other.pid}/root").stat().st_ino == Path("/").stat().st_ino
            assert Path(f"/proc/{other.pid}/root{work}").is_dir()
        finally:
            other.terminate()

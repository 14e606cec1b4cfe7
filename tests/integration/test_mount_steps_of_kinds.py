"""The steps for mounts with special rules (copies, mapped ids, proc, sysfs), and for masks."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ocipy.init.context import Init
from tests.harness import Host, proc_mounts
from tests.harness.scratch import Scratch, fails, mount_of, with_proc

pytestmark = pytest.mark.ocipy_only("the steps of its init lane")


# tmpcopyup


def _populate(directory: Path) -> None:
    (directory / "deep/er").mkdir(parents=True)
    (directory / "deep/er/file").write_bytes(b"x" * 100_000)
    (directory / "deep/er/file").chmod(0o4750)
    os.chown(directory / "deep/er", 5, 6)
    (directory / "link").symlink_to("/etc/passwd")
    os.mkfifo(directory / "fifo", 0o640)
    os.mknod(directory / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.setxattr(directory / "deep", "trusted.x", b"y")
    os.utime(directory / "deep/er/file", (1, 2))
    directory.chmod(0o750)
    os.chown(directory, 7, 8)


def _listing(top: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in [top, *top.rglob("*")]:
        about = path.lstat()
        found[str(path.relative_to(top))] = (
            oct(about.st_mode),
            about.st_uid,
            about.st_gid,
            about.st_rdev,
            os.readlink(path) if path.is_symlink() else path.read_bytes() if stat.S_ISREG(about.st_mode) else None,
            about.st_mtime if stat.S_ISREG(about.st_mode) else None,
            os.listxattr(path, follow_symlinks=False),
        )
    return found


@pytest.mark.parametrize("words", [("tmpcopyup",), ("tmpcopyup", "ro"), ("tmpcopyup", "size=10m,nr_inodes=100")])
def test_tmpcopyup(scratch: Scratch, words: tuple[str, ...]) -> None:
    (scratch.root / "etc").mkdir()
    _populate(scratch.root / "etc")
    with_proc(scratch).mount("/etc", *words)
    found, mount = scratch.run(lambda init: (_listing(Path("/etc")), mount_of("/etc")))
    assert found == _listing(scratch.root / "etc")
    assert ("ro" in mount.options) == ("ro" in words)


def test_tmpcopyup_that_does_not_fit(scratch: Scratch) -> None:
    (scratch.root / "etc").mkdir()
    _populate(scratch.root / "etc")
    fails(scratch.mount("/etc", "tmpcopyup", "size=4k"), "No space left on device", pointer="/mounts/0")


# Id-mapped mounts


def _needs_mapped_tmpfs(host: Host) -> None:
    if host.kernel < (6, 3):
        pytest.skip("tmpfs supports idmapped mounts since Linux 6.3")


MAPS = [{"containerID": 0, "hostID": 5000, "size": 10}]


@pytest.mark.parametrize("word", ["idmap", "ridmap"])
def test_idmap(scratch: Scratch, source: Path, host: Host, word: str) -> None:
    _needs_mapped_tmpfs(host)
    (source / "below/file").write_text("")
    os.chown(source / "file", 3, 4)
    scratch.bind(source, "/m", "rbind", word, uidMappings=MAPS, gidMappings=MAPS)

    def owners(init: Init) -> list[tuple[int, int]]:
        return [(about.st_uid, about.st_gid) for about in map(os.stat, ("/m/file", "/m/below/file"))]

    assert scratch.run(owners) == [(5003, 5004), (5000, 5000) if word == "ridmap" else (0, 0)]


def test_idmap_by_the_maps_of_the_container(scratch: Scratch, source: Path, host: Host) -> None:
    _needs_mapped_tmpfs(host)
    os.chown(source / "file", 3, 4)
    scratch.user_namespace()
    scratch.bind(source, "/plain").bind(source, "/mapped", "idmap").bind(
        source, "/other", "idmap=uids=3-100009-1;gids=@4-8-1"
    )
    owners = scratch.run(
        lambda init: [(os.stat(f"/{name}/file").st_uid, os.stat(f"/{name}/file").st_gid) for name in
                      ("plain", "mapped", "other")]
    )  # fmt: skip
    assert owners == [(65534, 65534), (3, 4), (9, 8)]


def test_idmap_of_a_filesystem_without_support(scratch: Scratch) -> None:
    scratch.bind("/proc", "/m", "idmap", uidMappings=MAPS, gidMappings=MAPS)
    error = fails(scratch, "cannot map the ids of /proc", pointer="/mounts/0")
    assert "does not support idmapped mounts" in error.hint


# proc, sysfs, the root itself


@pytest.mark.parametrize("fstype", ["proc", "sysfs"])
@pytest.mark.parametrize("kind", ["symlink", "absolute", "file", "dangling"])
def test_proc_and_sysfs_are_mounted_on_directories_only(scratch: Scratch, fstype: str, kind: str) -> None:
    (scratch.root / "x").mkdir()
    target = scratch.root / fstype
    if kind == "file":
        target.write_text("")
    else:
        target.symlink_to({"symlink": "x", "absolute": "/x", "dangling": "nowhere"}[kind])
    fails(scratch.mount(f"/{fstype}", type=fstype), "must be mounted on ordinary directory", pointer="/mounts/0")
    assert sorted(os.listdir(scratch.root)) == sorted([fstype, "x"])


@pytest.mark.parametrize("fstype", ["proc", "sysfs"])
def test_proc_and_sysfs_are_not_mounted_below_a_file(scratch: Scratch, fstype: str) -> None:
    (scratch.root / "file").write_text("")
    fails(scratch.mount("/file/x", type=fstype), "must be mounted on ordinary directory", pointer="/mounts/0")


@pytest.mark.parametrize("target", ["/", ".", "../..", "/x/.."])
def test_nothing_is_mounted_on_the_root(scratch: Scratch, source: Path, target: str) -> None:
    (scratch.root / "x").mkdir()
    (scratch.root / "link").symlink_to(target)
    fails(
        scratch.bind(source, "/link"),
        "leads to the container's root, where nothing may be mounted",
        pointer="/mounts/0",
    )


@pytest.mark.parametrize("target", ["/proc/self", "proc/sys/kernel", "/proc/1/../sys"])
def test_nothing_is_mounted_in_proc(scratch: Scratch, target: str) -> None:
    (scratch.root / "link").symlink_to(target)
    fails(with_proc(scratch).mount("/link"), "is inside /proc", pointer="/mounts/1")


def test_only_procfs_is_bound_on_proc(scratch: Scratch, source: Path) -> None:
    (scratch.root / "link").symlink_to("proc")
    (scratch.root / "proc").mkdir()
    fails(scratch.bind(source, "/link"), "only a procfs", pointer="/mounts/0")
    scratch.config["mounts"].clear()
    fails(scratch.bind("/proc/sys", "/proc"), "only a procfs", pointer="/mounts/0")
    scratch.config["mounts"].clear()
    scratch.bind("/proc", "/proc", "rbind")
    assert scratch.run(lambda init: mount_of("/proc").fstype) == "proc"


def test_files_of_lxcfs_are_bound_in_proc(scratch: Scratch, source: Path) -> None:
    with_proc(scratch).bind(source / "file", "/proc/meminfo")
    assert scratch.run(lambda init: Path("/proc/meminfo").read_text()) == "of the source"


def test_the_hosts_sysfs_if_no_new_one_may_be_mounted(scratch: Scratch) -> None:
    """CVE-2023-25809: all of it is read-only."""
    scratch.namespaces("mount", "pid").user_namespace()
    with_proc(scratch).mount("/sys", "ro", "nosuid", type="sysfs")
    mounts = scratch.run(lambda init: [mount for mount in proc_mounts() if mount.point.startswith("/sys")])
    assert len(mounts) > 1
    assert all("ro" in mount.options for mount in mounts)
    scratch.config["mounts"][1]["options"] = []
    fails(scratch, "cannot mount sysfs on /sys: Operation not permitted", pointer="/mounts/1")


# Masks


def test_masks(scratch: Scratch) -> None:
    for name in ("one", "two"):
        (scratch.root / name).mkdir()
        (scratch.root / name / "secret").write_text("")
    (scratch.root / "file").write_text("secret")
    (scratch.root / "file2").write_text("secret")
    (scratch.root / "link").symlink_to("file2")
    scratch.linux["maskedPaths"] = ["/one", "/two", "/file", "/link", "/missing", "/file/below", "/one"]
    with_proc(scratch)

    def look(init: Init) -> Any:
        about = [os.stat(f"/{name}") for name in ("one", "two")]
        return (
            [os.listdir(f"/{name}") for name in ("one", "two")],
            about[0].st_dev == about[1].st_dev,
            [os.stat(path).st_rdev for path in ("/file", "/file2")],
            [Path(path).read_text() for path in ("/file", "/file2")],
            [mount_of(path) for path in ("/one", "/two", "/file", "/file2")],
        )

    listed, shared, devices, texts, mounts = scratch.run(look)
    assert listed == [[], []]
    assert shared, "one tmpfs serves all"
    assert devices == [os.makedev(1, 3)] * 2
    assert texts == ["", ""]
    assert all("ro" in mount.options for mount in mounts)
    assert {"nosuid", "nodev", "noexec"} <= set(mounts[0].options)


def test_readonly_paths_keep_their_flags(scratch: Scratch, source: Path) -> None:
    with_proc(scratch).bind(source, "/m", "rbind", "nosuid", "noexec")
    (scratch.root / "plain").mkdir()
    scratch.linux["readonlyPaths"] = ["/m", "/m/below", "/plain", "/proc/sys", "/missing"]
    paths = ("/m", "/m/below", "/plain", "/proc/sys")
    options = scratch.run(lambda init: [set(mount_of(path).options) for path in paths])
    assert options[0] == {"ro", "nosuid", "noexec", "relatime"}
    assert all("ro" in option for option in options)


def test_mounts_below_a_readonly_path_stay(scratch: Scratch, source: Path) -> None:
    """It stays visible and writable: only the path's own mount becomes read-only, as with runc and crun."""
    (source / "below/file").write_text("below")
    with_proc(scratch).bind(source, "/m", "rbind")
    scratch.linux["readonlyPaths"] = ["/m"]

    def look(init: Init) -> Any:
        options = [set(mount_of(path).options) for path in ("/m", "/m/below")]
        return options, Path("/m/below/file").read_text()

    options, text = scratch.run(look)
    assert text == "below"
    assert "ro" in options[0]
    assert "rw" in options[1]

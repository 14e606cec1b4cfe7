"""The steps that make root, mounts, devices and masks, tried alone in scratch namespaces (tests/harness/scratch.py)."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.init.context import Init
from tests.harness import Host, Mount, proc_mounts
from tests.harness.host import umount
from tests.harness.scratch import Scratch

pytestmark = pytest.mark.ocipy_only("the steps of its init lane")


@pytest.fixture
def scratch(work: Path) -> Scratch:
    """An empty root filesystem."""
    return Scratch(work / "bundle")


@pytest.fixture
def source(work: Path) -> Iterator[Path]:
    """A tmpfs with another one mounted in it, at "below"."""
    path = work / "source"
    path.mkdir()
    _mount("tmpfs", path, "tmpfs")
    (path / "below").mkdir()
    _mount("tmpfs", path / "below", "tmpfs")
    (path / "file").write_text("of the source")
    yield path
    umount(str(path))


def _mount(source: str, target: Path, fstype: str, *words: str) -> None:
    assert os.spawnlp(os.P_WAIT, "mount", "mount", "-t", fstype, "-o", ",".join(words) or "rw", source, target) == 0


def _make(propagation: str, path: Path) -> None:
    assert os.spawnlp(os.P_WAIT, "mount", "mount", f"--make-{propagation}", str(path)) == 0


def _mount_of(point: str) -> Mount:
    """The topmost mount at the point, as the caller sees it."""
    return [mount for mount in proc_mounts() if mount.point == point][-1]


def _proc(scratch: Scratch) -> Scratch:
    return scratch.mount("/proc", type="proc", source="proc")


def _fails(scratch: Scratch, *words: str, pointer: str) -> Error:
    with pytest.raises(Error) as caught:
        scratch.run()
    assert caught.value.pointer == pointer
    for word in words:
        assert word in caught.value.line
    return caught.value


# Flags


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), {"rw", "relatime"}),
        (("defaults",), {"rw", "relatime"}),
        (("ro",), {"ro", "relatime"}),
        (("nosuid", "nodev", "noexec"), {"rw", "nosuid", "nodev", "noexec", "relatime"}),
        (("nosuid", "suid", "nodev", "dev", "noexec", "exec", "ro", "rw"), {"rw", "relatime"}),
        (("noatime",), {"rw", "noatime"}),
        (("noatime", "atime"), {"rw", "relatime"}),
        (("strictatime",), {"rw"}),
        (("strictatime", "nostrictatime"), {"rw", "relatime"}),
        (("relatime", "norelatime"), {"rw", "relatime"}),
        (("nodiratime",), {"rw", "nodiratime", "relatime"}),
        (("nodiratime", "diratime"), {"rw", "relatime"}),
        (("nosymfollow",), {"rw", "nosymfollow", "relatime"}),
        (("nosymfollow", "symfollow"), {"rw", "relatime"}),
        (("silent", "loud", "async", "nomand", "noiversion", "nolazytime"), {"rw", "relatime"}),
    ],
)
@pytest.mark.parametrize("kind", ["mount", "classic", "bind"])
def test_flags(scratch: Scratch, source: Path, words: tuple[str, ...], shown: set[str], kind: str) -> None:
    if kind == "bind":
        scratch.bind(source, "/m", *words)
    else:
        scratch.mount("/m", *words, *(["size=1m,mode=755"] if kind == "classic" else []))
    _proc(scratch)
    mount = scratch.run(lambda init: _mount_of("/m"))
    assert set(mount.options) == shown


@pytest.mark.parametrize("word", ["sync", "dirsync", "lazytime"])
@pytest.mark.parametrize("extra", [(), ("size=1m,mode=755",)])
def test_flags_of_the_filesystem(scratch: Scratch, word: str, extra: tuple[str, ...]) -> None:
    _proc(scratch).mount("/m", word, *extra)
    assert word in scratch.run(lambda init: _mount_of("/m")).super_options


def test_mand_and_iversion_are_accepted(scratch: Scratch) -> None:
    # Both are without effect on a kernel of today (mount(8)).
    _proc(scratch).mount("/m", "mand", "iversion", "size=4k")
    assert "size=4k" in scratch.run(lambda init: _mount_of("/m")).super_options


def test_ro_of_other_filesystems_is_the_superblocks_too(scratch: Scratch) -> None:
    _proc(scratch).mount("/s", "ro", type="sysfs")
    mount = scratch.run(lambda init: _mount_of("/s"))
    assert "ro" in mount.options
    assert "ro" in mount.super_options


def test_data(scratch: Scratch) -> None:
    _proc(scratch).mount("/m", "size=1m", "mode=1770", "nr_inodes=7", source="named")
    mount = scratch.run(lambda init: (_mount_of("/m"), os.stat("/m").st_mode & 0o7777))
    assert {"size=1024k", "mode=1770", "nr_inodes=7"} <= set(mount[0].super_options)
    assert mount[0].source == "named"
    assert mount[1] == 0o1770


def test_data_that_the_filesystem_refuses(scratch: Scratch) -> None:
    error = _fails(scratch.mount("/m", "nonsense=1"), "tmpfs", "nonsense=1", pointer="/mounts/0")
    assert "nonsense" in error.hint


def test_a_filesystem_that_there_is_not(scratch: Scratch) -> None:
    error = _fails(scratch.mount("/m", type="nosuchfs"), "nosuchfs", "No such device", pointer="/mounts/0")
    assert "/proc/filesystems" in error.hint


def test_mode_of_a_tmpfs_is_that_of_the_directory(scratch: Scratch) -> None:
    for name, mode in (("sticky", 0o1777), ("closed", 0o700)):
        (scratch.root / name).mkdir()
        (scratch.root / name).chmod(mode)
        scratch.mount(f"/{name}")
        scratch.mount(f"/{name}", "size=1m,nr_inodes=9")
    scratch.mount("/sticky", "mode=711")
    modes = scratch.run(lambda init: [os.stat(path).st_mode & 0o7777 for path in ("/sticky", "/closed")])
    assert modes == [0o711, 0o700]


# Bind mounts


def test_a_bind_mount_keeps_the_flags_of_its_source_unless_one_is_named(scratch: Scratch, source: Path) -> None:
    _mount("tmpfs", source, "tmpfs", "nosuid", "nodev", "noatime")
    _proc(scratch).bind(source, "/kept", "rprivate").bind(source, "/named", "ro")
    kept, named = scratch.run(lambda init: (_mount_of("/kept"), _mount_of("/named")))
    umount(str(source))
    assert set(kept.options) == {"rw", "nosuid", "nodev", "noatime"}
    assert set(named.options) == {"ro", "noatime"}


def test_locked_flags_stay_in_a_user_namespace(scratch: Scratch, source: Path) -> None:
    _mount("tmpfs", source, "tmpfs", "nosuid", "nodev")
    scratch.user_namespace()
    _proc(scratch).bind(source, "/m", "ro")
    shown = scratch.run(lambda init: _mount_of("/m").options)
    umount(str(source))
    assert set(shown) == {"ro", "nosuid", "nodev", "relatime"}


@pytest.mark.parametrize("words", [("ro",), ("rw", "dev")])
def test_locked_flags_where_the_runtime_itself_is_in_a_user_namespace(
    scratch: Scratch, source: Path, words: tuple[str, ...]
) -> None:
    _mount("tmpfs", source, "tmpfs", "nosuid", "nodev")
    scratch.user_namespace()
    scratch.host.capabilities = 0  # so that init opens the source, in its own mount namespace
    scratch.path.chmod(0o755)
    scratch.path.parent.chmod(0o755)
    _proc(scratch).bind(source, "/m", *words)
    try:
        if "dev" in words:
            error = _fails(scratch, "/m", "Operation not permitted", pointer="/mounts/1")
            assert "user namespace" in error.hint
        else:
            assert set(scratch.run(lambda init: _mount_of("/m").options)) == {"ro", "nosuid", "nodev", "relatime"}
    finally:
        umount(str(source))


def test_bind_takes_the_mount_alone_and_rbind_what_is_below(scratch: Scratch, source: Path) -> None:
    _proc(scratch).bind(source, "/one").bind(source, "/all", "rbind")
    points = scratch.run(lambda init: [mount.point for mount in proc_mounts()])
    assert "/all/below" in points
    assert "/one/below" not in points


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
        ("rnosymfollow", "nosymfollow"),
    ],
)
def test_recursive_flags(scratch: Scratch, source: Path, word: str, shown: str) -> None:
    _proc(scratch).bind(source, "/m", "rbind", word).bind(source, "/n", "rbind", word, word.replace("rno", "r", 1))
    points = ("/m", "/m/below", "/n", "/n/below")
    options = scratch.run(lambda init: [_mount_of(point).options for point in points])
    assert shown in options[0]
    assert shown in options[1]
    if word != "rro":
        assert shown not in options[2]
        assert shown not in options[3]


def test_recursive_flags_that_clear(scratch: Scratch, source: Path) -> None:
    _proc(scratch).bind(source, "/m", "rbind", "ro", "rro", "rrw").bind(source, "/n", "rbind", "rstrictatime")
    options = scratch.run(lambda init: [_mount_of(point).options for point in ("/m", "/m/below", "/n/below")])
    assert ["ro" in option for option in options] == [False, False, False]
    assert "relatime" not in options[2]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("shared",), "shared"),
        (("rshared",), "shared"),
        (("private",), ""),
        (("rprivate",), ""),
        (("slave",), ""),
        (("unbindable",), "unbindable"),
        (("runbindable",), "unbindable"),
        (("rshared", "rprivate"), ""),
        (("rprivate", "shared"), "shared"),
    ],
)
def test_propagation(scratch: Scratch, source: Path, words: tuple[str, ...], shown: str) -> None:
    _proc(scratch).mount("/t", *words).bind(source, "/b", "rbind", *words)
    mounts = scratch.run(lambda init: [_mount_of(point) for point in ("/t", "/b", "/b/below")])
    below = shown if words[-1].startswith("r") else ""
    for mount, expected in zip(mounts, (shown, shown, below), strict=True):
        assert [word.split(":")[0] for word in mount.propagation] == ([expected] if expected else [])


def test_mounts_of_the_host_arrive_in_a_slave(scratch: Scratch, source: Path) -> None:
    _make("rshared", source)
    _proc(scratch).bind(source, "/default", "rbind").bind(source, "/private", "rbind", "rprivate")
    mounts = scratch.run(lambda init: [_mount_of(point).propagation for point in ("/default", "/private")])
    assert [word.split(":")[0] for word in mounts[0]] == ["master"]
    assert mounts[1] == ()


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("kind", ["rshared", None])
def test_mounts_reach_the_host_only_with_a_shared_root(
    scratch: Scratch, source: Path, kind: str | None, user: bool
) -> None:
    _make("rshared", source)
    if user:
        scratch.user_namespace()
    scratch.linux["rootfsPropagation"] = kind
    _proc(scratch).bind(source, "/m", "rbind", "rshared")
    propagation = scratch.run(lambda init: [word.split(":")[0] for word in _mount_of("/m").propagation])
    peer = next(word for word in _mount_of(str(source)).propagation if word.startswith("shared:"))
    groups = scratch.run(lambda init: _mount_of("/m").propagation)
    if kind:
        assert peer in groups, "a peer of the host's"
    else:
        assert sorted(propagation) == ["master", "shared"]
        assert peer not in groups


def test_a_source_that_is_missing(scratch: Scratch) -> None:
    error = _fails(
        scratch.bind("/no/such/source", "/data"),
        "cannot bind /no/such/source on /data: No such file or directory",
        pointer="/mounts/0",
    )
    assert error.hint == "the source does not exist on the host; create it or remove the mount"


def test_a_relative_source_is_the_bundles(scratch: Scratch) -> None:
    (scratch.path / "data").write_text("of the bundle")
    scratch.bind("data", "/data")
    assert scratch.run(lambda init: Path("/data").read_text()) == "of the bundle"


def test_targets_are_made(scratch: Scratch, source: Path) -> None:
    scratch.bind(source, "/new/directory").bind(source / "file", "/new/below/file").mount("a/relative/one")
    scratch.run()
    assert (scratch.root / "new/directory").is_dir()
    assert stat.S_IMODE((scratch.root / "new/directory").stat().st_mode) == 0o755
    assert (scratch.root / "new/below/file").read_text() == ""
    assert stat.S_IMODE((scratch.root / "new/below/file").stat().st_mode) == 0o644
    assert (scratch.root / "a/relative/one").is_dir()


@pytest.mark.parametrize(
    ("links", "destination", "made"),
    [
        ({"run": "/var/run"}, "/run/x", "var/run/x"),
        ({"etc": "../../../.."}, "/etc/x", "x"),
        ({"resolv": "../run/stub/resolv"}, "/resolv", "run/stub/resolv"),
        ({"a": "b", "b": "/c/d"}, "/a/e", "c/d/e"),
        ({"up": "x/../../y"}, "/up/z", None),
    ],
)
def test_links_lead_to_places_inside(
    scratch: Scratch, source: Path, links: dict[str, str], destination: str, made: str | None
) -> None:
    for name, target in links.items():
        (scratch.root / name).symlink_to(target)
    scratch.bind(source / "file", destination)
    if made is None:
        _fails(scratch, "..", pointer="/mounts/0")
        return
    assert scratch.run(lambda init: Path(destination).read_text()) == "of the source"
    assert (scratch.root / made).is_file()


def test_a_loop_of_links_ends(scratch: Scratch, source: Path) -> None:
    (scratch.root / "a").symlink_to("b")
    (scratch.root / "b").symlink_to("a")
    _fails(scratch.bind(source, "/a/x"), "Too many levels of symbolic links", pointer="/mounts/0")


@pytest.mark.parametrize("directory", [True, False])
def test_a_target_of_the_other_kind(scratch: Scratch, source: Path, directory: bool) -> None:
    if directory:
        (scratch.root / "t").write_text("")
        _fails(scratch.bind(source, "/t"), "a directory on /t, which is a file", pointer="/mounts/0")
    else:
        (scratch.root / "t").mkdir()
        _fails(scratch.bind(source / "file", "/t"), "a file on /t, which is a directory", pointer="/mounts/0")


def test_a_file_in_the_way(scratch: Scratch) -> None:
    (scratch.root / "t").write_text("")
    _fails(scratch.mount("/t/below"), "Not a directory", pointer="/mounts/0")


def test_sockets_and_fifos_can_be_bound(scratch: Scratch, work: Path) -> None:
    os.mkfifo(work / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(work / "socket"))
    scratch.bind(work / "fifo", "/fifo").bind(work / "socket", "/run/socket")
    kinds = scratch.run(lambda init: [stat.S_IFMT(os.stat(path).st_mode) for path in ("/fifo", "/run/socket")])
    assert kinds == [stat.S_IFIFO, stat.S_IFSOCK]


def test_the_symlink_itself_can_be_bound_or_copied(scratch: Scratch, work: Path) -> None:
    (work / "link").symlink_to("/nowhere")
    (scratch.root / "there").symlink_to("/else")
    scratch.bind(work / "link", "/there", "src-nofollow", "dest-nofollow").bind(work / "link", "/copy", "copy-symlink")
    assert scratch.run(lambda init: [os.readlink(path) for path in ("/there", "/copy")]) == ["/nowhere"] * 2


def test_copy_symlink_binds_what_is_none(scratch: Scratch, source: Path) -> None:
    scratch.bind(source / "file", "/copy", "copy-symlink").bind("/no/such", "/none", "copy-symlink")
    _fails(scratch, "cannot bind /no/such", pointer="/mounts/1")
    scratch.config["mounts"].pop()
    assert scratch.run(lambda init: Path("/copy").read_text()) == "of the source"


def test_a_symlink_is_not_copied_over_something_else(scratch: Scratch, work: Path) -> None:
    (work / "link").symlink_to("/nowhere")
    (scratch.root / "copy").write_text("mine")
    _fails(scratch.bind(work / "link", "/copy", "copy-symlink"), "something else is there", pointer="/mounts/0")


def test_remount(scratch: Scratch) -> None:
    _proc(scratch).mount("/m", "size=1m").mount("/m", "remount", "size=2m", type="").mount(
        "/m", "remount", "bind", "ro", "nosuid", type=""
    )
    mount = scratch.run(lambda init: _mount_of("/m"))
    assert set(mount.options) == {"ro", "nosuid", "relatime"}
    assert "size=2048k" in mount.super_options


def test_remount_of_nothing(scratch: Scratch) -> None:
    (scratch.root / "m").mkdir()
    error = _fails(scratch.mount("/m", "remount", "ro", "bind"), "cannot remount /m", pointer="/mounts/0")
    assert error.hint == "nothing is mounted there"


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
    _proc(scratch).mount("/etc", *words)
    found, mount = scratch.run(lambda init: (_listing(Path("/etc")), _mount_of("/etc")))
    assert found == _listing(scratch.root / "etc")
    assert ("ro" in mount.options) == ("ro" in words)


def test_tmpcopyup_that_does_not_fit(scratch: Scratch) -> None:
    (scratch.root / "etc").mkdir()
    _populate(scratch.root / "etc")
    _fails(scratch.mount("/etc", "tmpcopyup", "size=4k"), "No space left on device", pointer="/mounts/0")


# Id-mapped mounts


def _needs_mapped_tmpfs(host: Host) -> None:
    if host.kernel < (6, 3):
        pytest.skip("a tmpfs knows mapped mounts since Linux 6.3")


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


def test_idmap_of_what_knows_no_maps(scratch: Scratch) -> None:
    scratch.bind("/proc", "/m", "idmap", uidMappings=MAPS, gidMappings=MAPS)
    error = _fails(scratch, "cannot map the ids of /proc", pointer="/mounts/0")
    assert "knows no mapped mounts" in error.hint


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
    _fails(scratch.mount(f"/{fstype}", type=fstype), "must be mounted on ordinary directory", pointer="/mounts/0")
    assert sorted(os.listdir(scratch.root)) == sorted([fstype, "x"])


@pytest.mark.parametrize("target", ["/", ".", "../..", "/x/.."])
def test_nothing_is_mounted_on_the_root(scratch: Scratch, source: Path, target: str) -> None:
    (scratch.root / "x").mkdir()
    (scratch.root / "link").symlink_to(target)
    _fails(scratch.bind(source, "/link"), "the container's root itself", pointer="/mounts/0")


@pytest.mark.parametrize("target", ["/proc/self", "proc/sys/kernel", "/proc/1/../sys"])
def test_nothing_is_mounted_in_proc(scratch: Scratch, target: str) -> None:
    (scratch.root / "link").symlink_to(target)
    _fails(_proc(scratch).mount("/link"), "is inside /proc", pointer="/mounts/1")


def test_only_procfs_is_bound_on_proc(scratch: Scratch, source: Path) -> None:
    (scratch.root / "link").symlink_to("proc")
    (scratch.root / "proc").mkdir()
    _fails(scratch.bind(source, "/link"), "only a procfs", pointer="/mounts/0")
    scratch.config["mounts"].clear()
    _fails(scratch.bind("/proc/sys", "/proc"), "only a procfs", pointer="/mounts/0")
    scratch.config["mounts"].clear()
    scratch.bind("/proc", "/proc", "rbind")
    assert scratch.run(lambda init: _mount_of("/proc").fstype) == "proc"


def test_files_of_lxcfs_are_bound_in_proc(scratch: Scratch, source: Path) -> None:
    _proc(scratch).bind(source / "file", "/proc/meminfo")
    assert scratch.run(lambda init: Path("/proc/meminfo").read_text()) == "of the source"


def test_sysfs_of_the_host_where_none_may_be_mounted(scratch: Scratch) -> None:
    """CVE-2023-25809: and all of it read-only."""
    scratch.namespaces("mount", "pid").user_namespace()
    _proc(scratch).mount("/sys", "ro", "nosuid", type="sysfs")
    mounts = scratch.run(lambda init: [mount for mount in proc_mounts() if mount.point.startswith("/sys")])
    assert len(mounts) > 1
    assert all("ro" in mount.options for mount in mounts)
    scratch.config["mounts"][1]["options"] = []
    _fails(scratch, "cannot mount sysfs on /sys: Operation not permitted", pointer="/mounts/1")


# Masks


def test_masks(scratch: Scratch) -> None:
    for name in ("one", "two"):
        (scratch.root / name).mkdir()
        (scratch.root / name / "secret").write_text("")
    (scratch.root / "file").write_text("secret")
    (scratch.root / "file2").write_text("secret")
    (scratch.root / "link").symlink_to("file2")
    scratch.linux["maskedPaths"] = ["/one", "/two", "/file", "/link", "/missing", "/file/below", "/one"]
    _proc(scratch)

    def look(init: Init) -> Any:
        about = [os.stat(f"/{name}") for name in ("one", "two")]
        return (
            [os.listdir(f"/{name}") for name in ("one", "two")],
            about[0].st_dev == about[1].st_dev,
            [os.stat(path).st_rdev for path in ("/file", "/file2")],
            [Path(path).read_text() for path in ("/file", "/file2")],
            [_mount_of(path) for path in ("/one", "/two", "/file", "/file2")],
        )

    listed, shared, devices, texts, mounts = scratch.run(look)
    assert listed == [[], []]
    assert shared, "one tmpfs serves all"
    assert devices == [os.makedev(1, 3)] * 2
    assert texts == ["", ""]
    assert all("ro" in mount.options for mount in mounts)
    assert {"nosuid", "nodev", "noexec"} <= set(mounts[0].options)


def test_readonly_paths_keep_their_flags(scratch: Scratch, source: Path) -> None:
    _proc(scratch).bind(source, "/m", "rbind", "nosuid", "noexec")
    (scratch.root / "plain").mkdir()
    scratch.linux["readonlyPaths"] = ["/m", "/m/below", "/plain", "/proc/sys", "/missing"]
    paths = ("/m", "/m/below", "/plain", "/proc/sys")
    options = scratch.run(lambda init: [set(_mount_of(path).options) for path in paths])
    assert options[0] == {"ro", "nosuid", "noexec", "relatime"}
    assert all("ro" in option for option in options)


# Devices


def _dev(scratch: Scratch) -> Scratch:
    scratch.only_mounts = False
    return _proc(scratch).mount("/dev", "mode=755", "nosuid")


def _nodes(init: Init) -> dict[str, tuple[str, int, int, int]]:
    found = {}
    for entry in os.scandir("/dev"):
        about = entry.stat(follow_symlinks=False)
        found[entry.name] = (oct(about.st_mode), about.st_uid, about.st_gid, about.st_rdev)
    return found


def test_devices(scratch: Scratch) -> None:
    scratch.linux["devices"] = [
        {"path": "/dev/deep/er/disk", "type": "b", "major": 7, "minor": 300, "fileMode": 0o60640, "uid": 1, "gid": 2},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/dev/zero", "type": "u", "major": 1, "minor": 5, "fileMode": 0},
        {"path": "/srv/null", "type": "c", "major": 1, "minor": 3},
    ]
    nodes, disk, null = _dev(scratch).run(
        lambda init: (_nodes(init), os.stat("/dev/deep/er/disk"), os.stat("/srv/null"))
    )
    character = stat.S_IFCHR | 0o666
    assert {name: nodes[name] for name in ("null", "full", "random", "urandom", "tty")} == {
        "null": (oct(character), 0, 0, os.makedev(1, 3)),
        "full": (oct(character), 0, 0, os.makedev(1, 7)),
        "random": (oct(character), 0, 0, os.makedev(1, 8)),
        "urandom": (oct(character), 0, 0, os.makedev(1, 9)),
        "tty": (oct(character), 0, 0, os.makedev(5, 0)),
    }
    assert nodes["zero"] == (oct(stat.S_IFCHR), 0, 0, os.makedev(1, 5))
    assert nodes["pipe"][0] == oct(stat.S_IFIFO | 0o622)
    assert (disk.st_mode, disk.st_uid, disk.st_gid, disk.st_rdev) == (stat.S_IFBLK | 0o640, 1, 2, os.makedev(7, 300))
    assert null.st_rdev == os.makedev(1, 3)


def test_links_in_dev(scratch: Scratch) -> None:
    links = _dev(scratch).run(
        lambda init: {entry.name: os.readlink(entry) for entry in os.scandir("/dev") if entry.is_symlink()}
    )
    assert links == {
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
        "ptmx": "pts/ptmx",
        **({"core": "/proc/kcore"} if Path("/proc/kcore").exists() else {}),
    }


def test_links_only_to_what_is_there(scratch: Scratch) -> None:
    scratch.only_mounts = False
    (scratch.root / "dev").mkdir()
    (scratch.root / "dev/ptmx").write_text("of the image")
    scratch.run()
    assert sorted(entry.name for entry in os.scandir(scratch.root / "dev") if entry.is_symlink()) == ["ptmx"]


def test_a_device_that_is_there_is_left_as_it_is(scratch: Scratch) -> None:
    scratch.only_mounts = False
    (scratch.root / "dev").mkdir()
    os.mknod(scratch.root / "dev/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.chown(scratch.root / "dev/null", 5, 6)
    scratch.run()
    about = (scratch.root / "dev/null").stat()
    assert (oct(about.st_mode), about.st_uid, about.st_gid) == (oct(stat.S_IFCHR | 0o600), 5, 6)


@pytest.mark.parametrize("what", ["file", "directory", "link", "other"])
@pytest.mark.parametrize("user", [False, True])
def test_what_is_not_the_device_is_an_error(scratch: Scratch, what: str, user: bool) -> None:
    scratch.only_mounts = False
    (scratch.root / "dev").mkdir()
    path = scratch.root / "dev/null"
    if what == "file":
        path.write_text("x")
    elif what == "directory":
        path.mkdir()
    elif what == "link":
        path.symlink_to("/proc/sys/kernel/core_pattern")
    else:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    if user:
        scratch.user_namespace()
    _fails(scratch, "/dev/null exists, and is not the device c 1:3", pointer="")


def test_devices_are_bound_in_a_user_namespace(scratch: Scratch) -> None:
    scratch.user_namespace()
    numbers = _dev(scratch).run(lambda init: {name: node[3] for name, node in _nodes(init).items()})
    assert numbers["null"] == os.makedev(1, 3)
    assert numbers["tty"] == os.makedev(5, 0)
    # Again: the empty files that the first run left are in the root filesystem now.
    scratch.config["mounts"].pop()
    for _ in range(2):
        scratch.run()
    assert (scratch.root / "dev/null").read_bytes() == b""


def test_a_device_that_the_host_has_not(scratch: Scratch) -> None:
    scratch.user_namespace()
    scratch.linux["devices"] = [{"path": "/dev/no-such", "type": "c", "major": 1, "minor": 3}]
    error = _fails(_dev(scratch), "cannot bind the host's /dev/no-such", pointer="/linux/devices/0")
    assert "the host has none there" in error.hint
    scratch.linux["devices"][0]["path"] = "/dev/zero"
    _fails(scratch, "/dev/zero on the host is not the device c 1:3", pointer="/linux/devices/0")


def test_a_dev_of_the_hosts_is_not_touched(scratch: Scratch, source: Path) -> None:
    scratch.only_mounts = False
    scratch.linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
    scratch.bind(source, "/dev")
    warnings = scratch.run(lambda init: init.channel.sent)  # type: ignore[attr-defined]
    assert sorted(os.listdir(source)) == ["below", "file"]
    assert "/dev/fuse" in warnings[0][1]["text"]


# The root


@pytest.mark.parametrize("no_pivot", [False, True])
def test_nothing_of_the_hosts_is_mounted_after_the_pivot(scratch: Scratch, no_pivot: bool) -> None:
    scratch.no_pivot = no_pivot
    _proc(scratch).mount("/m")
    mounts = scratch.run(lambda init: [mount.point for mount in proc_mounts()])
    assert mounts == ["/", "/proc", "/m"]


def test_no_pivot_hides_every_full_proc_and_sysfs(scratch: Scratch, work: Path) -> None:
    scratch.no_pivot = True
    other = work / "a proc\\with blanks"
    other.mkdir()
    _proc(scratch)

    def before() -> None:
        _mount("proc", other, "proc")
        _mount("sysfs", other, "sysfs")

    def look(init: Init) -> list[str]:
        # All of the namespace's mounts: with the root of it as seen from a descriptor that chroot does not hide.
        os.chroot(".")
        lines = Path("/proc/self/mountinfo").read_text()
        return [line for line in lines.splitlines() if " - proc " in line or " - sysfs " in line]

    assert len(scratch.run(look, before)) == 1


@pytest.mark.parametrize("kind", ["private", "slave", "shared", "unbindable", "rslave", "rprivate", "rshared"])
def test_root_propagation(scratch: Scratch, kind: str) -> None:
    scratch.linux["rootfsPropagation"] = kind
    propagation = _proc(scratch).run(lambda init: [word.split(":")[0] for word in _mount_of("/").propagation])
    assert propagation == {"shared": ["shared"], "rshared": ["shared"], "unbindable": ["unbindable"]}.get(kind, [])


def test_root_readonly(scratch: Scratch) -> None:
    scratch.config["root"]["readonly"] = True
    _proc(scratch).mount("/m")

    def look(init: Init) -> bool:
        Path("/m/x").write_text("")
        try:
            Path("/x").write_text("")
        except OSError:
            return True
        return False

    assert scratch.run(look)


def test_a_root_that_is_missing(scratch: Scratch) -> None:
    scratch.config["root"]["path"] = "nowhere"
    error = _fails(scratch, "cannot open the root filesystem", "No such file or directory", pointer="/root/path")
    assert "directory must exist" in error.hint


def test_a_root_that_is_a_file(scratch: Scratch) -> None:
    scratch.config["root"]["path"] = "/etc/passwd"
    _fails(scratch, "cannot open the root filesystem", "Not a directory", pointer="/root/path")


def test_the_root_may_be_behind_closed_directories(scratch: Scratch) -> None:
    scratch.path.chmod(0o700)
    scratch.user_namespace()
    assert _proc(scratch).run(lambda init: _mount_of("/").point) == "/"


@pytest.mark.parametrize("kind", [None, "private", "slave", "rshared"])
def test_the_host_sees_nothing(scratch: Scratch, source: Path, kind: str | None) -> None:
    scratch.linux["rootfsPropagation"] = kind
    _make("rshared", Path("/"))
    before = len(proc_mounts())
    try:
        _proc(scratch).bind(source, "/m", "rbind").mount("/t", "shared").mount("/t/below").run()
    finally:
        after = len(proc_mounts())
        _make("rprivate", Path("/"))
    assert after == before


def test_streams_on_the_hosts_null_become_the_containers(scratch: Scratch) -> None:
    def before() -> None:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 2):
            os.dup2(null, fd)

    def look(init: Init) -> list[tuple[bool, bool]]:
        inside = os.stat("/dev/null")
        found = []
        for fd in range(3):
            about = os.fstat(fd)
            found.append(((about.st_dev, about.st_ino) == (inside.st_dev, inside.st_ino), os.get_inheritable(fd)))
        return found

    assert _dev(scratch).run(look, before) == [(True, True), (False, True), (True, True)]

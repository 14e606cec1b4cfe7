"""The mount steps, each alone in scratch namespaces (tests/harness/scratch.py)."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from tests.harness import proc_mounts
from tests.harness.host import umount
from tests.harness.scratch import Scratch, fails, make_on_host, mount_of, mount_on_host, with_proc

pytestmark = pytest.mark.ocipy_only("the steps of its init lane")


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
    with_proc(scratch)
    mount = scratch.run(lambda init: mount_of("/m"))
    assert set(mount.options) == shown


@pytest.mark.parametrize("word", ["sync", "dirsync", "lazytime"])
@pytest.mark.parametrize("extra", [(), ("size=1m,mode=755",)])
def test_flags_of_the_filesystem(scratch: Scratch, word: str, extra: tuple[str, ...]) -> None:
    with_proc(scratch).mount("/m", word, *extra)
    assert word in scratch.run(lambda init: mount_of("/m")).super_options


def test_mand_and_iversion_are_accepted(scratch: Scratch) -> None:
    # Both have no effect on a current kernel (mount_on_host(8)).
    with_proc(scratch).mount("/m", "mand", "iversion", "size=4k")
    assert "size=4k" in scratch.run(lambda init: mount_of("/m")).super_options


def test_ro_applies_to_the_superblock_of_other_filesystems_too(scratch: Scratch) -> None:
    with_proc(scratch).mount("/s", "ro", type="sysfs")
    mount = scratch.run(lambda init: mount_of("/s"))
    assert "ro" in mount.options
    assert "ro" in mount.super_options


def test_data(scratch: Scratch) -> None:
    with_proc(scratch).mount("/m", "size=1m", "mode=1770", "nr_inodes=7", source="named")
    mount = scratch.run(lambda init: (mount_of("/m"), os.stat("/m").st_mode & 0o7777))
    assert {"size=1024k", "mode=1770", "nr_inodes=7"} <= set(mount[0].super_options)
    assert mount[0].source == "named"
    assert mount[1] == 0o1770


def test_data_that_the_filesystem_refuses(scratch: Scratch) -> None:
    error = fails(scratch.mount("/m", "nonsense=1"), "tmpfs", "nonsense=1", pointer="/mounts/0")
    assert "nonsense" in error.hint


def test_an_unknown_filesystem(scratch: Scratch) -> None:
    error = fails(scratch.mount("/m", type="nosuchfs"), "nosuchfs", "No such device", pointer="/mounts/0")
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
    mount_on_host("tmpfs", source, "tmpfs", "nosuid", "nodev", "noatime")
    with_proc(scratch).bind(source, "/kept", "rprivate").bind(source, "/named", "ro")
    kept, named = scratch.run(lambda init: (mount_of("/kept"), mount_of("/named")))
    umount(str(source))
    assert set(kept.options) == {"rw", "nosuid", "nodev", "noatime"}
    assert set(named.options) == {"ro", "noatime"}


def test_locked_flags_stay_in_a_user_namespace(scratch: Scratch, source: Path) -> None:
    mount_on_host("tmpfs", source, "tmpfs", "nosuid", "nodev")
    scratch.user_namespace()
    with_proc(scratch).bind(source, "/m", "ro")
    shown = scratch.run(lambda init: mount_of("/m").options)
    umount(str(source))
    assert set(shown) == {"ro", "nosuid", "nodev", "relatime"}


@pytest.mark.parametrize("words", [("ro",), ("rw", "dev")])
def test_locked_flags_if_the_runtime_itself_is_in_a_user_namespace(
    scratch: Scratch, source: Path, words: tuple[str, ...]
) -> None:
    mount_on_host("tmpfs", source, "tmpfs", "nosuid", "nodev")
    scratch.user_namespace()
    scratch.host.capabilities = 0  # then init opens the source, in its mount namespace
    scratch.path.chmod(0o755)
    scratch.path.parent.chmod(0o755)
    with_proc(scratch).bind(source, "/m", *words)
    try:
        if "dev" in words:
            error = fails(scratch, "/m", "Operation not permitted", pointer="/mounts/1")
            assert "user namespace" in error.hint
        else:
            assert set(scratch.run(lambda init: mount_of("/m").options)) == {"ro", "nosuid", "nodev", "relatime"}
    finally:
        umount(str(source))


def test_bind_takes_one_mount_and_rbind_the_tree(scratch: Scratch, source: Path) -> None:
    with_proc(scratch).bind(source, "/one").bind(source, "/all", "rbind")
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
    with_proc(scratch).bind(source, "/m", "rbind", word).bind(source, "/n", "rbind", word, word.replace("rno", "r", 1))
    points = ("/m", "/m/below", "/n", "/n/below")
    options = scratch.run(lambda init: [mount_of(point).options for point in points])
    assert shown in options[0]
    assert shown in options[1]
    if word != "rro":
        assert shown not in options[2]
        assert shown not in options[3]


def test_recursive_flags_that_clear(scratch: Scratch, source: Path) -> None:
    with_proc(scratch).bind(source, "/m", "rbind", "ro", "rro", "rrw").bind(source, "/n", "rbind", "rstrictatime")
    options = scratch.run(lambda init: [mount_of(point).options for point in ("/m", "/m/below", "/n/below")])
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
    with_proc(scratch).mount("/t", *words).bind(source, "/b", "rbind", *words)
    mounts = scratch.run(lambda init: [mount_of(point) for point in ("/t", "/b", "/b/below")])
    below = shown if words[-1].startswith("r") else ""
    for mount, expected in zip(mounts, (shown, shown, below), strict=True):
        assert [word.split(":")[0] for word in mount.propagation] == ([expected] if expected else [])


def test_mounts_of_the_host_arrive_in_a_slave(scratch: Scratch, source: Path) -> None:
    make_on_host("rshared", source)
    with_proc(scratch).bind(source, "/default", "rbind").bind(source, "/private", "rbind", "rprivate")
    mounts = scratch.run(lambda init: [mount_of(point).propagation for point in ("/default", "/private")])
    assert [word.split(":")[0] for word in mounts[0]] == ["master"]
    assert mounts[1] == ()


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("kind", ["rshared", None])
def test_mounts_reach_the_host_only_with_a_shared_root(
    scratch: Scratch, source: Path, kind: str | None, user: bool
) -> None:
    make_on_host("rshared", source)
    if user:
        scratch.user_namespace()
    scratch.linux["rootfsPropagation"] = kind
    with_proc(scratch).bind(source, "/m", "rbind", "rshared")
    propagation = scratch.run(lambda init: [word.split(":")[0] for word in mount_of("/m").propagation])
    peer = next(word for word in mount_of(str(source)).propagation if word.startswith("shared:"))
    groups = scratch.run(lambda init: mount_of("/m").propagation)
    if kind:
        assert peer in groups, "a peer of the host's"
    else:
        assert sorted(propagation) == ["master", "shared"]
        assert peer not in groups


def test_a_source_that_is_missing(scratch: Scratch) -> None:
    error = fails(
        scratch.bind("/no/such/source", "/data"),
        "cannot bind /no/such/source on /data: No such file or directory",
        pointer="/mounts/0",
    )
    assert error.hint == "the source does not exist on the host; create it or remove the mount"


def test_a_relative_source_is_relative_to_the_bundle(scratch: Scratch) -> None:
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
        fails(scratch, "..", pointer="/mounts/0")
        return
    assert scratch.run(lambda init: Path(destination).read_text()) == "of the source"
    assert (scratch.root / made).is_file()


def test_a_loop_of_links_ends(scratch: Scratch, source: Path) -> None:
    (scratch.root / "a").symlink_to("b")
    (scratch.root / "b").symlink_to("a")
    fails(scratch.bind(source, "/a/x"), "Too many levels of symbolic links", pointer="/mounts/0")


@pytest.mark.parametrize("directory", [True, False])
def test_a_target_of_the_wrong_kind(scratch: Scratch, source: Path, directory: bool) -> None:
    if directory:
        (scratch.root / "t").write_text("")
        fails(scratch.bind(source, "/t"), "a directory on /t, which is a file", pointer="/mounts/0")
    else:
        (scratch.root / "t").mkdir()
        fails(scratch.bind(source / "file", "/t"), "a file on /t, which is a directory", pointer="/mounts/0")


def test_a_file_in_the_way(scratch: Scratch) -> None:
    (scratch.root / "t").write_text("")
    fails(scratch.mount("/t/below"), "Not a directory", pointer="/mounts/0")


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


def test_copy_symlink_binds_anything_but_a_symlink(scratch: Scratch, source: Path) -> None:
    scratch.bind(source / "file", "/copy", "copy-symlink").bind("/no/such", "/none", "copy-symlink")
    fails(scratch, "cannot bind /no/such", pointer="/mounts/1")
    scratch.config["mounts"].pop()
    assert scratch.run(lambda init: Path("/copy").read_text()) == "of the source"


def test_a_symlink_is_not_copied_over_something_else(scratch: Scratch, work: Path) -> None:
    (work / "link").symlink_to("/nowhere")
    (scratch.root / "copy").write_text("mine")
    fails(scratch.bind(work / "link", "/copy", "copy-symlink"), "something else is there", pointer="/mounts/0")


def test_remount(scratch: Scratch) -> None:
    with_proc(scratch).mount("/m", "size=1m").mount("/m", "remount", "size=2m", type="").mount(
        "/m", "remount", "bind", "ro", "nosuid", type=""
    )
    mount = scratch.run(lambda init: mount_of("/m"))
    assert set(mount.options) == {"ro", "nosuid", "relatime"}
    assert "size=2048k" in mount.super_options


def test_remount_of_nothing(scratch: Scratch) -> None:
    (scratch.root / "m").mkdir()
    error = fails(scratch.mount("/m", "remount", "ro", "bind"), "cannot remount /m", pointer="/mounts/0")
    assert error.hint == "nothing is mounted there"

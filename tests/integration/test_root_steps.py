"""The steps for devices and the root, each alone in scratch namespaces (tests/harness/scratch.py)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ocipy.init import rootfs
from ocipy.init.context import Init
from ocipy.linux import _kernel
from ocipy.linux import constants as c
from tests.harness import proc_mounts
from tests.harness.behind import mounts_from
from tests.harness.scratch import Scratch, fails, make_on_host, mount_of, mount_on_host, with_proc

pytestmark = pytest.mark.ocipy_only("the steps of its init lane")


# Devices


def _dev(scratch: Scratch) -> Scratch:
    scratch.only_mounts = False
    return with_proc(scratch).mount("/dev", "mode=755", "nosuid")


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


def test_a_node_does_not_get_the_group_of_its_directory(scratch: Scratch) -> None:
    (scratch.root / "dev").mkdir()
    os.chown(scratch.root / "dev", 0, 7)
    (scratch.root / "dev").chmod(0o2755)
    scratch.only_mounts = False
    null = with_proc(scratch).run(lambda init: os.stat("/dev/null"))
    assert (oct(null.st_mode), null.st_gid) == (oct(stat.S_IFCHR | 0o666), 0)


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


def test_links_only_to_existing_targets(scratch: Scratch) -> None:
    scratch.only_mounts = False
    (scratch.root / "dev").mkdir()
    (scratch.root / "dev/ptmx").write_text("of the image")
    scratch.run()
    assert sorted(entry.name for entry in os.scandir(scratch.root / "dev") if entry.is_symlink()) == ["ptmx"]


def test_an_existing_device_is_left_unchanged(scratch: Scratch) -> None:
    scratch.only_mounts = False
    (scratch.root / "dev").mkdir()
    os.mknod(scratch.root / "dev/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.chown(scratch.root / "dev/null", 5, 6)
    scratch.run()
    about = (scratch.root / "dev/null").stat()
    assert (oct(about.st_mode), about.st_uid, about.st_gid) == (oct(stat.S_IFCHR | 0o600), 5, 6)


@pytest.mark.parametrize("what", ["file", "directory", "link", "other"])
@pytest.mark.parametrize("user", [False, True])
def test_anything_but_the_device_is_an_error(scratch: Scratch, what: str, user: bool) -> None:
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
    fails(scratch, "/dev/null exists and is not the device c 1:3", pointer="/linux/devices")


def test_devices_are_bound_in_a_user_namespace(scratch: Scratch) -> None:
    scratch.user_namespace()
    numbers = _dev(scratch).run(lambda init: {name: node[3] for name, node in _nodes(init).items()})
    assert numbers["null"] == os.makedev(1, 3)
    assert numbers["tty"] == os.makedev(5, 0)
    # Again: now the root filesystem contains the empty files of the first run.
    scratch.config["mounts"].pop()
    for _ in range(2):
        scratch.run()
    assert (scratch.root / "dev/null").read_bytes() == b""


def test_a_device_that_the_host_lacks(scratch: Scratch) -> None:
    scratch.user_namespace()
    scratch.linux["devices"] = [{"path": "/dev/no-such", "type": "c", "major": 1, "minor": 3}]
    error = fails(_dev(scratch), "cannot bind the host's /dev/no-such", pointer="/linux/devices/0")
    assert "the host lacks this one" in error.hint
    scratch.linux["devices"][0]["path"] = "/dev/zero"
    fails(scratch, "/dev/zero on the host is not the device c 1:3", pointer="/linux/devices/0")


def test_the_hosts_dev_is_not_touched(scratch: Scratch, source: Path) -> None:
    scratch.only_mounts = False
    scratch.linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
    scratch.bind(source, "/dev")
    warnings = scratch.run(lambda init: init.channel.sent)  # type: ignore[attr-defined]
    assert sorted(os.listdir(source)) == ["below", "file"]
    assert "/dev/fuse" in warnings[0][1]["text"]


# The root


@pytest.mark.parametrize("no_pivot", [False, True])
def test_nothing_of_the_host_is_mounted_after_the_pivot(scratch: Scratch, no_pivot: bool) -> None:
    scratch.no_pivot = no_pivot
    with_proc(scratch).mount("/m")
    mounts = scratch.run(lambda init: [mount.point for mount in proc_mounts()])
    assert mounts == ["/", "/proc", "/m"]


def test_no_pivot_hides_every_full_proc_and_sysfs(scratch: Scratch, work: Path) -> None:
    scratch.no_pivot = True
    other = work / "a proc\\with blanks"
    other.mkdir()
    with_proc(scratch)
    roots: list[int] = []

    def before() -> None:
        mount_on_host("proc", other, "proc")
        mount_on_host("sysfs", other, "sysfs")
        roots.append(os.open("/", os.O_PATH | os.O_DIRECTORY))

    def look(init: Init) -> list[str]:
        # All mounts of the namespace, seen through a file descriptor that chroot does not restrict.
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        os.fchdir(roots[0])
        os.chroot(".")
        return [mount.fstype for mount in mounts_from(proc) if mount.fstype in ("proc", "sysfs")]

    assert scratch.run(look, before) == ["proc"]


@pytest.mark.parametrize("kind", ["private", "slave", "shared", "unbindable", "rslave", "rprivate", "rshared"])
def test_root_propagation(scratch: Scratch, kind: str) -> None:
    scratch.linux["rootfsPropagation"] = kind
    propagation = with_proc(scratch).run(lambda init: [word.split(":")[0] for word in mount_of("/").propagation])
    assert propagation == {"shared": ["shared"], "rshared": ["shared"], "unbindable": ["unbindable"]}.get(kind, [])


def test_root_readonly(scratch: Scratch) -> None:
    scratch.config["root"]["readonly"] = True
    with_proc(scratch).mount("/m")

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
    error = fails(scratch, "cannot open the root filesystem", "No such file or directory", pointer="/root/path")
    assert "existing directory" in error.hint


def test_a_root_that_is_a_file(scratch: Scratch) -> None:
    scratch.config["root"]["path"] = "/etc/passwd"
    fails(scratch, "cannot open the root filesystem", "Not a directory", pointer="/root/path")


def test_the_root_may_be_behind_closed_directories(scratch: Scratch) -> None:
    scratch.path.chmod(0o700)
    scratch.user_namespace()
    assert with_proc(scratch).run(lambda init: mount_of("/").point) == "/"


@pytest.mark.parametrize("kind", [None, "private", "slave", "rshared"])
def test_the_host_sees_nothing(scratch: Scratch, source: Path, kind: str | None) -> None:
    scratch.linux["rootfsPropagation"] = kind
    make_on_host("rshared", Path("/"))
    before = len(proc_mounts())
    try:
        with_proc(scratch).bind(source, "/m", "rbind").mount("/t", "shared").mount("/t/below").run()
    finally:
        after = len(proc_mounts())
        make_on_host("rprivate", Path("/"))
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


def test_mounts_in_the_copy_of_the_root_do_not_appear_in_the_root(source: Path, work: Path) -> None:
    """Mounts below the root may be shared on the host: their copies receive its events, and send none."""
    _kernel.mount(None, str(source), None, c.MS_SHARED | c.MS_REC, None)
    (source / "below/place").mkdir()
    copy = work / "copy"
    copy.mkdir()
    tree = rootfs.clone_root(str(source), c.MS_PRIVATE)
    _kernel.move_mount(tree, "", c.AT_FDCWD, str(copy), c.MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)
    try:
        _kernel.mount("tmpfs", str(copy / "below/place"), "tmpfs", 0, None)
        (copy / "below/place/file").touch()
        assert os.listdir(source / "below/place") == []
        # In the other direction the event arrives.
        (source / "below/later").mkdir()
        _kernel.mount("tmpfs", str(source / "below/later"), "tmpfs", 0, None)
        (source / "below/later/file").touch()
        assert os.listdir(copy / "below/later") == ["file"]
    finally:
        _kernel.umount2(str(copy), c.MNT_DETACH)

"""The system calls of the C extension that need root, in new mount and network namespaces."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.linux import _kernel
from ocipy.linux import constants as c
from tests.unit.child import in_child

pytestmark = pytest.mark.ocipy_only(reason="its own C extension")


def in_namespaces(flags: int, work: Callable[[], object]) -> int:
    """Like in_child, with new namespaces and private mounts."""

    def inside() -> object:
        _kernel.unshare(flags | c.CLONE_NEWNS)
        _kernel.mount(None, "/", None, c.MS_REC | c.MS_PRIVATE, None)
        return work()

    return in_child(inside)


def test_mount_and_umount(tmp_path: Path) -> None:
    def work() -> bool:
        _kernel.mount("tmpfs", str(tmp_path), "tmpfs", c.MS_NOEXEC, "size=64k,mode=711")
        (tmp_path / "file").write_text("x")
        mounted = bool(os.statvfs(tmp_path).f_flag & os.ST_NOEXEC) and tmp_path.stat().st_mode & 0o777 == 0o711
        _kernel.umount2(str(tmp_path), c.MNT_DETACH | c.UMOUNT_NOFOLLOW)
        return mounted and not (tmp_path / "file").exists()

    assert in_namespaces(0, work) == 0


def test_a_detached_tree_is_attached_by_descriptor(tmp_path: Path) -> None:
    def work() -> bool:
        source, target = tmp_path / "source", tmp_path / "target"
        source.mkdir()
        target.mkdir()
        (source / "file").write_text("x")
        tree = _kernel.open_tree(c.AT_FDCWD, str(source), c.OPEN_TREE_CLONE | c.AT_RECURSIVE)
        flags = c.AT_EMPTY_PATH | c.AT_RECURSIVE
        _kernel.mount_setattr(tree, "", flags, c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NODEV, 0, c.MS_PRIVATE, -1)
        at = os.open(target, os.O_PATH)
        _kernel.move_mount(tree, "", at, "", c.MOVE_MOUNT_F_EMPTY_PATH | c.MOVE_MOUNT_T_EMPTY_PATH)
        flag = os.statvfs(target).f_flag
        same = _kernel.mount_id(c.AT_FDCWD, str(target), 0) == _kernel.mount_id(tree, "", c.AT_EMPTY_PATH)
        return (target / "file").exists() and bool(flag & os.ST_RDONLY) and bool(flag & 4) and same

    assert in_namespaces(0, work) == 0


def test_a_file_system_is_made_by_descriptor(tmp_path: Path) -> None:
    def work() -> bool:
        context = _kernel.fsopen("tmpfs", 0)
        _kernel.fsconfig(context, c.FSCONFIG_SET_STRING, "size", "128k", 0)
        _kernel.fsconfig(context, c.FSCONFIG_SET_FLAG, "ro", None, 0)
        _kernel.fsconfig(context, c.FSCONFIG_CMD_CREATE, None, None, 0)
        mount = _kernel.fsmount(context, 0, c.MOUNT_ATTR_NOSUID)
        _kernel.move_mount(mount, "", c.AT_FDCWD, str(tmp_path), c.MOVE_MOUNT_F_EMPTY_PATH)
        about = os.statvfs(tmp_path)
        made = about.f_flag & os.ST_RDONLY and about.f_flag & os.ST_NOSUID and about.f_blocks * about.f_frsize == 2**17
        return bool(made) and not any(map(os.get_inheritable, (context, mount)))

    assert in_namespaces(0, work) == 0


def test_pivot_root(tmp_path: Path) -> None:
    def work() -> bool:
        _kernel.mount(str(tmp_path), str(tmp_path), None, c.MS_BIND, None)
        (tmp_path / "marker").write_text("x")
        os.chdir(tmp_path)
        _kernel.pivot_root(".", ".")
        _kernel.umount2(".", c.MNT_DETACH)
        os.chdir("/")
        return os.listdir("/") == ["marker"] and _kernel.getcwd() == "/"

    assert in_namespaces(0, work) == 0


def test_clone3_into_namespaces() -> None:
    pid, pidfd = _kernel.clone3(c.CLONE_NEWPID | c.CLONE_NEWUTS | c.CLONE_NEWNET, signal.SIGCHLD, -1)
    if pid == 0:
        _kernel.sethostname("inside")
        _kernel.setdomainname("domain")
        _kernel.link_up("lo")
        about = os.uname()
        right = os.getpid() == 1 and about.nodename == "inside" and about.version and b"domain" in domain()
        flags = int(Path("/sys/class/net/lo/flags").read_text(), 16) if Path("/sys/class/net/lo/flags").exists() else 1
        os._exit(0 if right and flags & 1 else 1)
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.uname().nodename != "inside"


def domain() -> bytes:
    """The domain name of this uts namespace."""
    return Path("/proc/sys/kernel/domainname").read_bytes()


def test_a_namespace_is_joined() -> None:
    def work() -> bool:
        old = os.open("/proc/self/ns/uts", os.O_RDONLY)
        name = os.uname().nodename
        _kernel.unshare(c.CLONE_NEWUTS)
        _kernel.sethostname("other")
        other = os.uname().nodename
        _kernel.setns(old, c.CLONE_NEWUTS)
        return other == "other" and os.uname().nodename == name

    assert in_namespaces(0, work) == 0


def test_a_session_keyring() -> None:
    def work() -> bool:
        ring = _kernel.join_session_keyring("_ses.test")
        _kernel.keyctl_setperm(ring, 0x3F3F0000)
        return _kernel.keyctl_describe(ring).endswith(";3f3f0000;_ses.test")

    assert in_child(work) == 0


def test_a_keyring_with_too_long_a_description() -> None:
    def work() -> bool:
        try:
            _kernel.keyctl_describe(_kernel.join_session_keyring("x" * 4090))
        except OSError as error:
            return error.errno == errno.EMSGSIZE
        return False

    assert in_child(work) == 0


def test_a_missing_name() -> None:
    with pytest.raises(OSError, match="No such device"):
        _kernel.link_up("nosuch0")

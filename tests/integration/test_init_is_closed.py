"""The protection of the process that becomes the container: prctl(2), PR_SET_DUMPABLE, and related measures."""

from __future__ import annotations

import ctypes
import os
import posix
import signal
from collections.abc import Callable
from pathlib import Path

import prctl
import pytest

from ocipy.errors import Error
from ocipy.init import capabilities, identity, paths
from ocipy.linux import _kernel
from ocipy.linux import constants as c
from ocipy.plan.capabilities import Capabilities
from ocipy.plan.identity import BecomeRoot, GidUid
from tests.harness import Bundle, Container, Result, parse_status
from tests.integration.test_kernel import in_namespaces
from tests.unit.child import in_child
from tests.unit.fake_init import fake_init

MakeContainer = Callable[..., Container]
RunScript = Callable[..., Result]
CAP_SYS_PTRACE = 19


@pytest.mark.parametrize("user", [0, 1000])
def test_an_init_that_waits_for_start_is_undumpable(container: MakeContainer, bundle: Bundle, user: int) -> None:
    """Nobody without CAP_SYS_PTRACE may inspect it, even with all the capabilities that it has (ptrace(2))."""
    bundle.process["user"] = {"uid": user, "gid": user}
    one = container(bundle.args("sleep", "1000"))

    def may_look() -> bool:
        keep = ~(1 << CAP_SYS_PTRACE)
        effective, permitted, inheritable = _kernel.capget()
        _kernel.capset(effective & keep, permitted & keep, inheritable & keep)
        if user:
            prctl.set_keepcaps(True)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        try:
            os.readlink(f"/proc/{one.pid}/cwd")
        except PermissionError:
            return False
        return True

    assert in_child(may_look) == 1
    one.start()
    one.end()


@pytest.mark.ocipy_only("the steps of its init lane")
@pytest.mark.parametrize("step", ["become_root", "capabilities"])
def test_after_the_ids_have_changed_the_process_is_undumpable_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """With fs.suid_dumpable at 1 the kernel makes it dumpable (proc_sys_fs(5))."""

    def change_ids(*_ids: int) -> None:
        prctl.set_dumpable(True)

    def work() -> bool:
        for name in ("setresuid", "setresgid", "setgroups"):
            monkeypatch.setattr(posix, name, change_ids)
        init = fake_init(tmp_path)
        if step == "become_root":
            identity.become_root(init, BecomeRoot(uid=0, gid=0, drop_groups=True))
        else:
            identity.gid_uid(init, GidUid(uid=0, gid=0))
            capabilities.capabilities(init, Capabilities(effective=0, permitted=0, inheritable=0, ambient=0))
        return bool(prctl.get_dumpable() == 0)

    assert in_child(work) == 0


@pytest.mark.ocipy_only("runc has no overlay")
def test_the_executable_in_the_container_is_on_a_mount_without_set_user_id(container: MakeContainer) -> None:
    """The mount has no devices, and nothing writable: /proc/PID/exe exposes it."""
    one = container()
    flags = os.statvfs(f"/proc/{one.pid}/exe").f_flag
    if os.readlink(f"/proc/{one.pid}/exe").startswith("/memfd:"):
        pytest.skip("this host has no overlay for it")
    assert flags & os.ST_NOSUID and flags & os.ST_NODEV and flags & os.ST_RDONLY
    one.start()
    one.end()


def ignore_all() -> None:
    """Ignore all signals, including those that Python and libc do not name."""
    libc = ctypes.CDLL(None)
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33):
            libc.signal(number, 1)


@pytest.mark.ocipy_only("its own C extension")
def test_no_signal_that_the_caller_ignores_is_ignored_inside() -> None:
    """From the first to the last, SIGRTMAX."""

    def look() -> bool:
        ignore_all()
        before = parse_status(Path("/proc/self/status").read_text())["SigIgn"]
        _kernel.reset_signals()
        after = parse_status(Path("/proc/self/status").read_text())
        return int(before, 16) >> 63 == 1 and int(after["SigIgn"], 16) == 0 and int(after["SigBlk"], 16) == 0

    assert in_child(look) == 0


def test_a_working_directory_is_made_even_below_a_read_only_root(sh: RunScript, bundle: Bundle) -> None:
    """Before it becomes the container's process."""
    bundle.config["root"]["readonly"] = True
    bundle.process["cwd"] = "/made/for/this"
    result = sh("pwd; touch /made/for/this/x || echo refused", bundle).ok()
    assert result.lines == ["/made/for/this", "refused"]


@pytest.mark.ocipy_only("the steps of its init lane")
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "symlink"])
def test_a_directory_just_made_is_not_entered_through_what_was_put_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Another container with the same volume mounts on it, or swaps it, between mkdir(2) and open."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    make = os.mkdir

    def make_and_cover(name: str, mode: int, *, dir_fd: int) -> None:
        make(name, mode, dir_fd=dir_fd)
        place = f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{name}"
        if kind == "symlink":
            os.rmdir(place)
            os.symlink(outside, place)
        else:
            flags = c.MS_BIND if kind == "bind" else 0
            _kernel.mount(str(outside), place, "tmpfs" if kind == "tmpfs" else None, flags, None)

    def work() -> bool:
        monkeypatch.setattr(posix, "mkdir", make_and_cover)
        fd = os.open(root, os.O_PATH)
        try:
            paths.make_directory(fd, "/a/b/c")
        except (OSError, Error):
            return os.listdir(outside) == []
        return False

    assert in_namespaces(0, work) == 0

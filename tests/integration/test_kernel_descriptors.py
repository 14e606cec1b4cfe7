"""Every function of the C extension that returns a file descriptor sets close-on-exec: a table of all functions.

Open file descriptors would stay open in the container: a host directory is a way out (CVE-2024-21626).
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.linux import _kernel
from ocipy.linux import constants as c
from tests.conftest import TOP

pytestmark = pytest.mark.ocipy_only(reason="its C extension")

ALLOW = (6).to_bytes(2, "little") + bytes(2) + (0x7FFF0000).to_bytes(4, "little")  # BPF_RET, SECCOMP_RET_ALLOW
RETURN_1 = bytes([0xB7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])  # r0 = 1; exit: bpf(2)


def openat2() -> list[int]:
    return [_kernel.openat2(c.AT_FDCWD, "/", c.O_PATH, 0, 0)]


def open_tree() -> list[int]:
    return [_kernel.open_tree(c.AT_FDCWD, "/", 0), _kernel.open_tree(c.AT_FDCWD, "/", c.OPEN_TREE_CLONE)]


def fsopen() -> list[int]:
    return [_kernel.fsopen("tmpfs", 0)]


def fsmount() -> list[int]:
    context = _kernel.fsopen("tmpfs", 0)
    _kernel.fsconfig(context, c.FSCONFIG_CMD_CREATE, None, None, 0)
    return [context, _kernel.fsmount(context, 0, 0)]


def clone3() -> list[int]:
    pid, pidfd = _kernel.clone3(0, signal.SIGCHLD, -1)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return [pidfd]


def pidfd_open() -> list[int]:
    return [_kernel.pidfd_open(os.getpid(), 0)]


def pidfd_getfd() -> list[int]:
    return [*pidfd_open(), _kernel.pidfd_getfd(_kernel.pidfd_open(os.getpid(), 0), 0)]


def signalfd() -> list[int]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    fd = _kernel.signalfd([signal.SIGUSR2])
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return [fd]


def socketpair() -> list[int]:
    return list(_kernel.socketpair(socket.SOCK_STREAM))


def connect_unix() -> list[int]:
    path = f"/tmp/ocipy-test-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        try:
            return [_kernel.connect_unix(path)]
        finally:
            os.unlink(path)


def recv() -> list[int]:
    ends = socketpair()
    _kernel.send(ends[0], b"x", (0, 1))
    return ends + _kernel.recv(ends[1], 10, 2)[1]


def pty_peer() -> list[int]:
    """The caller passes the flags of open(2), and all our callers set O_CLOEXEC."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    _kernel.pty_unlock(master)
    return [master, _kernel.pty_peer(master, c.O_RDWR | c.O_NOCTTY | c.O_CLOEXEC)]


def seccomp_load() -> list[int]:
    """The listener, in a child, because a filter is permanent."""
    pid = os.fork()
    if pid == 0:
        try:
            listener = _kernel.seccomp_load(ALLOW, c.SECCOMP_FILTER_FLAG_NEW_LISTENER)
            os._exit(0 if fcntl.fcntl(listener, fcntl.F_GETFD) & fcntl.FD_CLOEXEC else 1)
        except OSError:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return []


def bpf_prog_load() -> list[int]:
    return [_kernel.bpf_prog_load(c.BPF_PROG_TYPE_CGROUP_DEVICE, c.BPF_CGROUP_DEVICE, RETURN_1, "ocipy_test")]


def bpf_prog_get_fd_by_id() -> list[int]:
    program = bpf_prog_load()[0]
    about = Path(f"/proc/self/fdinfo/{program}").read_text()
    number = int(next(line.split()[1] for line in about.split("\n") if line.startswith("prog_id:")))
    return [program, _kernel.bpf_prog_get_fd_by_id(number)]


TABLE = [
    openat2, open_tree, fsopen, fsmount, clone3, pidfd_open, pidfd_getfd, signalfd, socketpair, connect_unix, recv,
    pty_peer, seccomp_load, bpf_prog_load, bpf_prog_get_fd_by_id,
]  # fmt: skip
# Functions that return other numbers, or tuples or lists of other values.
OTHERS = {
    "clone_successor", "last_capability",
    "prctl", "join_session_keyring", "personality", "send", "pty_number", "ns_type", "monotonic_ns", "fstatfs",
    "mount_id", "capget", "prlimit", "read_signal", "poll", "tty_size", "tty_end_of_file",
    "bpf_prog_query", "spawn",
}  # fmt: skip


def is_open(fd: int) -> bool:
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False


def open_fds() -> set[int]:
    """Return the open descriptors, without that of the listing itself."""
    return {fd for fd in map(int, os.listdir("/proc/self/fd")) if is_open(fd)}


@pytest.mark.parametrize("function", TABLE, ids=lambda function: function.__name__)
def test_a_descriptor_is_close_on_exec(function: Callable[[], list[int]]) -> None:
    before = open_fds()
    fds = function()
    opened = open_fds() - before
    kept = [fd for fd in opened if not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC]
    for fd in opened:
        os.close(fd)
    assert set(fds) <= opened
    assert kept == []


def test_the_table_has_all_functions_that_may_return_one() -> None:
    stub = (TOP / "ocipy/linux/_kernel.pyi").read_text()
    numbers = re.findall(r"^def (\w+)\([^)]*\) -> (?:int|tuple\[.*int.*\]|list\[.*int.*\])(?: \| None)?:", stub, re.M)
    assert set(numbers) - OTHERS == {function.__name__ for function in TABLE}

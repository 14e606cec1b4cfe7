"""Every descriptor that the C extension makes is close-on-exec: else it would be the payload's (CVE-2024-21626)."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.linux import _kernel
from ocipy.linux import constants as c
from tests.unit.child import in_child

pytestmark = pytest.mark.ocipy_only("its own C extension")

# They return numbers, too, but none that stands for an open file.
NUMBERS = {
    "fstatfs", "mount_id", "prctl", "capget", "prlimit", "join_session_keyring", "personality", "read_signal", "poll",
    "send", "tty_size", "pty_number", "ns_type", "bpf_prog_query", "monotonic_ns",
}  # fmt: skip
ALLOW_ALL = struct.pack("HBBI", 6, 0, 0, 0x7FFF0000)  # BPF_RET SECCOMP_RET_ALLOW (seccomp(2))
RETURN_1 = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0)  # r0 = 1; exit


def own_open(path: str = "/") -> int:
    return os.open(path, os.O_PATH)


def filesystem() -> int:
    context = _kernel.fsopen("tmpfs", 0)
    _kernel.fsconfig(context, c.FSCONFIG_CMD_CREATE, None, None, 0)
    return context


def pidfd_of_clone() -> int:
    pid, pidfd = _kernel.clone3(c.CLONE_PIDFD, c.SIGCHLD, -1)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pidfd


def received() -> list[int]:
    ours, theirs = _kernel.socketpair(socket.SOCK_SEQPACKET)
    _kernel.send(ours, b"x", [own_open(), own_open()])
    return _kernel.recv(theirs, 16, 2)[1]


def connected() -> int:
    path = f"/tmp/ocipy-test-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        try:
            return _kernel.connect_unix(path)
        finally:
            os.unlink(path)


def listener() -> int:
    _kernel.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
    return _kernel.seccomp_load(ALLOW_ALL, c.SECCOMP_FILTER_FLAG_NEW_LISTENER)


def peer() -> int:
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    _kernel.pty_unlock(master)
    return _kernel.pty_peer(master, os.O_RDWR | os.O_NOCTTY)


def program() -> int:
    return _kernel.bpf_prog_load(c.BPF_PROG_TYPE_CGROUP_DEVICE, c.BPF_CGROUP_DEVICE, RETURN_1, "ocipy_test")


def program_by_id() -> int:
    number = re.search(r"prog_id:\s*(\d+)", Path(f"/proc/self/fdinfo/{program()}").read_text())
    assert number
    return _kernel.bpf_prog_get_fd_by_id(int(number[1]))


MAKERS: dict[str, Callable[[], int | list[int] | tuple[int, ...]]] = {
    "bpf_prog_get_fd_by_id": program_by_id,
    "bpf_prog_load": program,
    "clone3": pidfd_of_clone,
    "connect_unix": connected,
    "fsmount": lambda: _kernel.fsmount(filesystem(), 0, 0),
    "fsopen": filesystem,
    "open_tree": lambda: _kernel.open_tree(c.AT_FDCWD, "/", c.OPEN_TREE_CLONE),
    "openat2": lambda: _kernel.openat2(c.AT_FDCWD, "/", os.O_PATH, 0, 0),
    "pidfd_getfd": lambda: _kernel.pidfd_getfd(_kernel.pidfd_open(os.getpid(), 0), own_open()),
    "pidfd_open": lambda: _kernel.pidfd_open(os.getpid(), 0),
    "pty_peer": peer,
    "recv": received,
    "seccomp_load": listener,
    "signalfd": lambda: _kernel.signalfd([signal.SIGUSR1]),
    "socketpair": lambda: _kernel.socketpair(socket.SOCK_STREAM),
}


def test_the_table_has_every_function_that_may_return_one() -> None:
    """Of those that return a number, or several, by the stub."""
    stub = Path(_kernel.__file__ or "").parent / "_kernel.pyi"
    if not stub.exists():
        stub = Path(__file__).resolve().parents[2] / "ocipy/linux/_kernel.pyi"
    found = re.findall(r"^def (\w+)\([^)]*\) -> (.*?):", stub.read_text(), re.MULTILINE)
    assert len(found) > 40
    assert {name for name, result in found if re.search(r"\bint\b", result)} - NUMBERS == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_a_new_descriptor_is_close_on_exec(name: str) -> None:
    """Of the extension's own accord: no caller has to think of it."""

    def work() -> bool:
        made = MAKERS[name]()
        fds = [made] if isinstance(made, int) else list(made)
        return bool(fds) and all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in fds)

    assert in_child(work) == 0

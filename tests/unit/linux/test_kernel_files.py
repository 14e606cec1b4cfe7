"""Paths, file descriptors and terminals of the C extension, without root."""

from __future__ import annotations

import errno
import os
import pty
import resource
import signal
import socket
import termios
import time
from pathlib import Path

import pytest

from ocipy.linux import _kernel
from ocipy.linux import constants as c
from tests.unit.child import in_child


def test_openat2_stays_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("inside")
    (tmp_path / "link").symlink_to("/file")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    fd = _kernel.openat2(root, "link", os.O_RDONLY, 0, c.RESOLVE_IN_ROOT | c.RESOLVE_NO_MAGICLINKS)
    assert os.read(fd, 10) == b"inside"
    assert not os.get_inheritable(fd)
    with pytest.raises(OSError) as caught:
        _kernel.openat2(root, "../x", os.O_RDONLY, 0, c.RESOLVE_BENEATH)
    assert caught.value.errno == errno.EXDEV
    os.close(fd)
    os.close(root)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    os.close(_kernel.openat2(c.AT_FDCWD, f"{tmp_path}/{name}", os.O_CREAT | os.O_WRONLY, 0o600, 0))
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe"]


def test_a_nul_in_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match="null"):
        _kernel.openat2(c.AT_FDCWD, "a\0b", os.O_RDONLY, 0, 0)


def test_fchownat_of_an_o_path_descriptor(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    _kernel.fchownat(fd, "", os.getuid(), os.getgid(), c.AT_EMPTY_PATH)
    os.close(fd)


def test_close_range(pipe: tuple[int, int]) -> None:
    def closed() -> bool:
        _kernel.close_range(pipe[0], 0xFFFFFFFF, 0)
        return not Path(f"/proc/self/fd/{pipe[1]}").exists() and Path("/proc/self/fd/0").exists()

    assert in_child(closed) == 0


def test_getcwd_is_the_system_call(tmp_path: Path) -> None:
    def removed() -> bool:
        directory = tmp_path / "removed"
        directory.mkdir()
        os.chdir(directory)
        directory.rmdir()
        try:
            _kernel.getcwd()
        except FileNotFoundError:
            return True
        return False

    assert _kernel.getcwd() == os.getcwd()
    assert in_child(removed) == 0


def test_flock(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR) for _ in range(2))
    _kernel.flock(first, c.LOCK_EX)
    with pytest.raises(BlockingIOError):
        _kernel.flock(second, c.LOCK_EX | c.LOCK_NB)
    os.close(first)
    _kernel.flock(second, c.LOCK_EX | c.LOCK_NB)
    os.close(second)


def test_fstatfs_and_mount_id() -> None:
    fd = os.open("/proc/self", os.O_PATH)
    assert _kernel.fstatfs(fd)[0] == c.PROC_SUPER_MAGIC
    # There may be several mounts at /proc. The last one counts.
    ids = [
        int(line.split()[0])
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == "/proc"
    ]
    assert _kernel.mount_id(fd, "", c.AT_EMPTY_PATH) == ids[-1]
    os.close(fd)


def test_poll(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    assert _kernel.poll([(reader, c.POLLIN), (writer, c.POLLOUT)], -1) == [(writer, c.POLLOUT)]
    begin = time.monotonic()
    assert _kernel.poll([(reader, c.POLLIN)], 50) == []
    assert time.monotonic() - begin >= 0.04
    os.close(writer)
    assert _kernel.poll([(reader, c.POLLIN)], -1) == [(reader, c.POLLHUP)]


def test_poll_continues_after_a_signal(pipe: tuple[int, int]) -> None:
    calls: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda *_: calls.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    begin = time.monotonic()
    assert _kernel.poll([(pipe[0], c.POLLIN)], 100) == []
    assert time.monotonic() - begin >= 0.09
    assert calls == [1]
    signal.signal(signal.SIGALRM, old)


def test_messages_and_descriptors(pipe: tuple[int, int]) -> None:
    a, b = _kernel.socketpair(c.SOCK_SEQPACKET)
    assert not os.get_inheritable(a)
    assert _kernel.send(a, b"message", (pipe[0],)) == 7
    data, fds = _kernel.recv(b, 100, 1)
    assert data == b"message"
    assert os.path.sameopenfile(fds[0], pipe[0])
    assert not os.get_inheritable(fds[0])
    os.close(fds[0])
    os.close(a)
    assert _kernel.recv(b, 100, 0) == (b"", [])
    with pytest.raises(BrokenPipeError):  # and no SIGPIPE
        _kernel.send(b, b"x")
    os.close(b)


@pytest.mark.parametrize(("size", "count", "limit"), [(8, 0, 0), (7, 1, 0), (7, 3, 2), (8, 1, 1), (7, 200, 1)])
def test_more_than_expected_is_refused_and_closed(pipe: tuple[int, int], size: int, count: int, limit: int) -> None:
    a, b = _kernel.socketpair(c.SOCK_SEQPACKET)
    _kernel.send(a, b"m" * size, [pipe[0]] * count)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError) as caught:
        _kernel.recv(b, 7, limit)
    assert caught.value.errno == errno.EMSGSIZE
    assert os.listdir("/proc/self/fd") == before
    os.close(a)
    os.close(b)


def test_connect_unix(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        fd = _kernel.connect_unix(str(tmp_path / "s"))
        server.accept()[0].close()
        os.close(fd)
    with pytest.raises(OSError) as caught:
        _kernel.connect_unix("/" + "x" * 107)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_an_empty_path_is_not_an_abstract_address() -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" * 108)
        server.listen()
        with pytest.raises(FileNotFoundError):
            _kernel.connect_unix("")


def test_connect_unix_without_a_free_descriptor() -> None:
    def refused() -> bool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        try:
            _kernel.connect_unix("/nowhere")
        except OSError as error:
            return error.errno == errno.EMFILE
        return False

    assert in_child(refused) == 0


def test_terminals() -> None:
    master, slave = pty.openpty()
    _kernel.tty_set_size(master, 24, 80)
    assert _kernel.tty_size(slave) == (24, 80)
    _kernel.pty_unlock(master)
    assert f"/dev/pts/{_kernel.pty_number(master)}" == os.ttyname(slave)
    peer = _kernel.pty_peer(master, os.O_RDWR | os.O_NOCTTY)
    assert os.fstat(peer).st_rdev == os.fstat(slave).st_rdev
    before = termios.tcgetattr(slave)
    saved = _kernel.tty_raw(slave)
    assert not termios.tcgetattr(slave)[3] & termios.ECHO
    assert termios.tcgetattr(slave)[1] & termios.OPOST
    _kernel.tty_clear_output(slave, termios.ONLCR)
    assert not termios.tcgetattr(slave)[1] & termios.ONLCR
    _kernel.tty_restore(slave, saved)
    assert termios.tcgetattr(slave) == before
    with pytest.raises(ValueError, match="termios"):
        _kernel.tty_restore(slave, b"short")

    def controlling() -> bool:
        os.setsid()
        _kernel.tty_set_controlling(slave)
        return os.tcgetpgrp(slave) == os.getpid()

    assert in_child(controlling) == 0
    for fd in (master, slave, peer):
        os.close(fd)

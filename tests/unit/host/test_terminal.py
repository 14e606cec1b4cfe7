"""--console-socket: one message with one file descriptor, without waiting for an answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.host import console


def listen(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(path.parent, os.O_PATH)
    server.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)
    server.listen(1)
    return server


@pytest.mark.parametrize("directory", ["short", "long" * 30 + "/" + "longer" * 30])
def test_the_master_is_sent_before_the_connection_is_accepted(tmp_path: Path, directory: str) -> None:
    path = tmp_path / directory / "socket"
    path.parent.mkdir(parents=True)
    with listen(path) as server:
        master, peer = os.openpty()
        console.send_descriptor(str(path), master, "/dev/pts/0", "the terminal")
        os.close(master)
        connection, _ = server.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 4096, 8)
            assert data == b"/dev/pts/0"
            assert len(fds) == 1
            assert connection.recv(1) == b""
    os.write(peer, b"x")
    assert os.read(fds[0], 1) == b"x"
    os.close(fds[0])
    os.close(peer)


def test_a_socket_that_nobody_listens_at(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    prepares: tuple[Callable[[], object], ...] = (lambda: None, path.touch)
    for prepare in prepares:
        prepare()
        with pytest.raises(Error, match="cannot send the terminal") as caught:
            console.send_descriptor(str(path), 0, "/dev/pts/0", "the terminal")
        assert caught.value.pointer == str(path)

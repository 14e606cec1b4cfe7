"""The log of --log journald: and syslog:."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy import log, log_socket


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A datagram socket in place of both."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(path)
        one.settimeout(5)
        monkeypatch.setattr(log_socket, "SOCKETS", {"journald": path, "syslog": path})
        yield one
    log.configure("", False, False)


def test_the_journal(receiver: socket.socket) -> None:
    log.configure("journald:web-1", False, False)
    log.error("create web: no such\nfile")
    assert receiver.recv(4096) == b"PRIORITY=3\nSYSLOG_IDENTIFIER=web-1\nMESSAGE=create web: no such\\nfile\n"


def test_syslog(receiver: socket.socket) -> None:
    log.configure("syslog:web-1", True, True)
    log.error("create web: bad")
    assert receiver.recv(4096) == b"<11>web-1[%d]: create web: bad" % os.getpid()
    log.warning("careful")
    assert receiver.recv(4096) == b"<12>web-1[%d]: careful" % os.getpid()


def test_only_errors_by_default(receiver: socket.socket) -> None:
    log.configure("syslog:x", False, False)
    log.warning("careful")
    log.debug("detail")
    log.error("bad")
    assert receiver.recv(4096).endswith(b": bad")


def test_a_socket_that_nobody_listens_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard error has the message anyway, and a warning about the missing log."""
    monkeypatch.setattr(log_socket, "SOCKETS", {"journald": str(tmp_path / "none")})
    log.configure("journald:x", False, False)
    log.error("bad")
    log.configure("", False, False)
    assert capfd.readouterr().err == "ocipy: cannot log to journald: No such file or directory\n"


@pytest.mark.parametrize(("prefix", "name"), [("file:", "log"), ("", "log"), ("", "a:b"), ("file:", "journald:x")])
def test_a_file(tmp_path: Path, prefix: str, name: str) -> None:
    path = tmp_path / name
    log.configure(f"{prefix}{path}", True, False)
    log.error("bad")
    log.configure("", False, False)
    assert '"msg":"bad"' in path.read_text()

"""The socket for a container's readiness message."""

from __future__ import annotations

import os
import posix
import socket
import stat
from pathlib import Path

import pytest

from ocipy.host.notify import Notifier
from ocipy.state.state import State


def test_the_socket_is_made_with_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chmod by name, later, might follow a link to a file of the host."""

    def chmod(*_arguments: object, **_keywords: object) -> None:
        pytest.fail("the name is resolved twice")

    monkeypatch.setattr(posix, "chmod", chmod)
    (tmp_path / "notify").mkdir()
    umask = os.umask(0o077)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "manager"))
            notifier = Notifier(State(str(tmp_path), "c", "/b"), os.fsencode(tmp_path / "manager"))
            notifier.close()
    finally:
        assert os.umask(umask) == 0o077
    assert stat.S_IMODE((tmp_path / "notify/notify.sock").stat().st_mode) == 0o777

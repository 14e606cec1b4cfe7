"""init/terminal.py: only a devpts mounted in the container provides its terminal, not a look-alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.init import terminal
from ocipy.init.context import Init
from ocipy.linux import _kernel
from ocipy.linux.channel import pair
from ocipy.linux.constants import DEVPTS_SUPER_MAGIC


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Init]:
    """An init for an image with a file at /dev/pts/ptmx."""
    (tmp_path / "dev/pts").mkdir(parents=True)
    (tmp_path / "dev/pts/ptmx").touch()
    ours, theirs = pair()
    made = Init(channel=ours, state={})
    made.rootfs = os.open(tmp_path, os.O_PATH)
    yield made
    for fd in (made.rootfs, ours.fd, theirs.fd):
        os.close(fd)


def test_a_directory_without_devpts_is_refused(init: Init) -> None:
    """Before opening anything in it: a node there may be any host device (CVE-2025-52565)."""
    with pytest.raises(Error, match="needs a devpts on /dev/pts"):
        terminal._open_master(init)


def test_a_fake_ptmx_is_refused(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(_kernel, "fstatfs", lambda _fd: (DEVPTS_SUPER_MAGIC, 0))
    with pytest.raises(Error, match="is not the pseudoterminal multiplexer"):
        terminal._open_master(init)
    assert len(os.listdir("/proc/self/fd")) == before

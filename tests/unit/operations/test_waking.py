"""The byte for an init process that waits at exec.fifo."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocipy.init.fifo import AWAKE, DISMISSED
from ocipy.operations.waking import dismiss, wake


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


def test_the_process_that_waits_gets_its_word(fifo: str) -> None:
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert wake(fifo)
    assert os.read(reader, 9) == AWAKE
    dismiss(fifo)
    assert os.read(reader, 9) == DISMISSED
    os.close(reader)


def test_nobody_waits(fifo: str) -> None:
    """And nothing blocks."""
    assert not wake(fifo)
    dismiss(fifo)


def test_a_link_is_not_followed(fifo: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="Too many levels"):
        wake(str(tmp_path / "link"))
    dismiss(str(tmp_path / "link"))
    assert os.read(reader, 9) == b""
    os.close(reader)


def test_a_missing_fifo(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        wake(str(tmp_path / "none"))
    dismiss(str(tmp_path / "none"))

"""Small files, as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocipy.linux.files import write_file


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(str(path), b"one")
    write_file(str(path), b"two" * 100000)
    assert path.read_bytes() == b"two" * 100000
    with pytest.raises(OSError):
        write_file(str(tmp_path / "missing/file"), b"")
    assert os.listdir(tmp_path) == ["file"]


def test_a_relative_path_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_file("pid", b"1")
    assert (tmp_path / "pid").read_bytes() == b"1"

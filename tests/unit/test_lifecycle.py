"""The state machine's races, one side of each made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocipy.container import lifecycle
from ocipy.container.directory import DOES_NOT_EXIST
from ocipy.errors import Error


def test_delete_of_none_while_a_create_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not there when it was to be locked, and is afterwards: for delete --force that is success."""

    def lock(directory: str) -> int:
        Path(directory).mkdir(exist_ok=True)
        raise Error(DOES_NOT_EXIST)

    monkeypatch.setattr(lifecycle, "lock", lock)
    lifecycle.delete(str(tmp_path), "c", force=True)
    with pytest.raises(Error, match=DOES_NOT_EXIST):
        lifecycle.delete(str(tmp_path), "c")


def test_delete_of_a_busy_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").mkdir()

    def lock(directory: str) -> int:
        raise Error("another command is at work on this container")

    monkeypatch.setattr(lifecycle, "lock", lock)
    with pytest.raises(Error, match="another command is at work"):
        lifecycle.delete(str(tmp_path), "c", force=True)
    (tmp_path / "c").rmdir()
    lifecycle.delete(str(tmp_path), "c", force=True)

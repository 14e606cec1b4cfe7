"""The state machine's races, one side of each made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocipy.container import lifecycle
from ocipy.container.directory import DOES_NOT_EXIST, make_directory
from ocipy.container.state import State
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


def made(root: Path, created: str) -> State:
    """A container whose process has ended, and whose poststop hook leaves a file."""
    os.close(make_directory(str(root), "c"))
    state = State(f"{root}/c", "c", "/")
    state.created = created
    state.hooks = {"poststop": [{"path": "/usr/bin/touch", "args": ["touch", f"{root}/poststop-{created}"]}]}
    state.save()
    return state


def test_run_deletes_its_own_container_alone(tmp_path: Path) -> None:
    """Another may have been made under its id, after somebody deleted ours."""
    ours = made(tmp_path, "1")
    lifecycle.delete(str(tmp_path), "c")
    made(tmp_path, "2")
    lifecycle.delete_ended(ours)
    assert (tmp_path / "c/state.json").exists()
    assert sorted(path.name for path in tmp_path.glob("poststop-*")) == ["poststop-1"]


def test_run_deletes_its_own_container(tmp_path: Path) -> None:
    lifecycle.delete_ended(made(tmp_path, "1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poststop-1"]
    lifecycle.delete_ended(State(f"{tmp_path}/c", "c", "/"))  # gone already: that is success

"""The state machine's races, with one side of each simulated."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.operations import delete, kill, start
from ocipy.state.directory import DOES_NOT_EXIST, make_directory
from ocipy.state.state import FIFO, REPORT, State


def test_delete_while_create_makes_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is missing at the lock, and exists afterwards: a success for delete --force."""

    def lock(directory: str) -> int:
        Path(directory).mkdir(exist_ok=True)
        raise Error(DOES_NOT_EXIST)

    monkeypatch.setattr(delete, "lock", lock)
    delete.delete(str(tmp_path), "c", force=True)
    with pytest.raises(Error, match=DOES_NOT_EXIST):
        delete.delete(str(tmp_path), "c")


def test_delete_of_a_busy_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").mkdir()

    def lock(directory: str) -> int:
        raise Error("another command is working on this container")

    monkeypatch.setattr(delete, "lock", lock)
    with pytest.raises(Error, match="another command is working"):
        delete.delete(str(tmp_path), "c", force=True)
    (tmp_path / "c").rmdir()
    delete.delete(str(tmp_path), "c", force=True)


def made(root: Path, created: str) -> State:
    """A container whose process has ended, and whose poststop hook leaves a file."""
    os.close(make_directory(str(root), "c"))
    state = State(f"{root}/c", "c", "/")
    state.created = created
    state.hooks = {"poststop": [{"path": "/usr/bin/touch", "args": ["touch", f"{root}/poststop-{created}"]}]}
    state.save()
    return state


@pytest.fixture(autouse=True)
def signals_that_hooks_block() -> Iterator[None]:
    """They stay blocked for the rest of a command (children/interrupts.py), but not of these tests."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_run_deletes_only_its_own_container(tmp_path: Path) -> None:
    """Another container may have its id, after a process deleted ours."""
    ours = made(tmp_path, "1")
    delete.delete(str(tmp_path), "c")
    made(tmp_path, "2")
    delete.delete_ended(ours)
    assert (tmp_path / "c/state.json").exists()
    assert sorted(path.name for path in tmp_path.glob("poststop-*")) == ["poststop-1"]


def test_run_deletes_its_own_container(tmp_path: Path) -> None:
    delete.delete_ended(made(tmp_path, "1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poststop-1"]
    delete.delete_ended(State(f"{tmp_path}/c", "c", "/"))  # already gone: a success


def test_a_pidfd_of_another_process_is_given_back(tmp_path: Path) -> None:
    """Another process has the pid when it is opened: the start time reveals that, and no signal is sent."""
    state = State(str(tmp_path), "c", "/")
    state.pid, state.start_time = os.getpid(), 1
    opened: list[int] = []
    real = _kernel.pidfd_open

    def pidfd_open(pid: int, flags: int) -> int:
        opened.append(real(pid, flags))
        return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_kernel, "pidfd_open", pidfd_open)
        with pytest.raises(Error, match="container not running"):
            kill.open_init(state)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_start_of_a_container_whose_init_ends_meanwhile(tmp_path: Path) -> None:
    """It was alive at the check of its status: now the FIFO has no reader, and start fails."""
    for name in (FIFO, REPORT):
        os.mkfifo(tmp_path / name)
    pidfd = os.pidfd_open(os.getpid())
    with pytest.raises(Error, match="its init process has ended"):
        start._let_go(State(str(tmp_path), "c", "/"), pidfd, -1)
    os.close(pidfd)

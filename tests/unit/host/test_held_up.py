"""A process that is stopped on its way to the exec."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from ocipy.errors import Error
from ocipy.host import held_up
from ocipy.linux.files import read_file


@pytest.fixture
def child() -> Iterator[Callable[[Callable[[], None]], tuple[int, int]]]:
    children: list[tuple[int, int]] = []

    def start(does: Callable[[], None]) -> tuple[int, int]:
        pid = os.fork()
        if pid == 0:
            try:
                does()
            finally:
                os._exit(7)
        children.append((pid, os.pidfd_open(pid)))
        return children[-1]

    yield start
    for pid, pidfd in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)


def _stop_once() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    signal.pause()


def _stop_always() -> None:
    while True:
        os.kill(os.getpid(), signal.SIGSTOP)


def _wait_for(pid: int, state: str) -> None:
    deadline = time.monotonic() + 10
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != state:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _no_procfs(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", path)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_stopped_process_is_continued(
    child: Callable[..., tuple[int, int]], monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    """Even if procfs hides it (hidepid): waitid(2) tells its parent."""
    pid, pidfd = child(_stop_once)
    _wait_for(pid, "T")
    if hidden:
        monkeypatch.setattr(held_up, "read_file", _no_procfs)
    assert held_up.glance("it", pid, pidfd, 3) == 4
    _wait_for(pid, "S")
    assert held_up.glance("it", pid, pidfd, 4) == 0


def test_a_process_that_is_always_found_stopped_is_an_error(child: Callable[..., tuple[int, int]]) -> None:
    pid, pidfd = child(_stop_always)
    stopped = 0
    with pytest.raises(Error, match="it is stopped again each time it is continued"):
        for _ in range(held_up.MAX_STOPPED + 1):
            _wait_for(pid, "T")
            stopped = held_up.glance("it", pid, pidfd, stopped)
    assert stopped == held_up.MAX_STOPPED


def test_a_process_that_has_exited_or_does_not_exist_yet_is_left_alone(child: Callable[..., tuple[int, int]]) -> None:
    pid, pidfd = child(lambda: None)
    _wait_for(pid, "Z")
    assert held_up.glance("it", pid, pidfd, 2) == 0
    assert held_up.glance("it", 0, -1, 0) == 0


def test_a_child_that_a_stage_has_forked_is_continued_although_its_pid_is_not_known_yet(
    child: Callable[..., tuple[int, int]],
) -> None:
    stage, pidfd = child(signal.pause)
    successor, _ = child(_stop_once)
    _wait_for(successor, "T")
    assert held_up.glance("it", stage, pidfd, 3) == 0
    assert held_up.glance("it", stage, pidfd, 3, is_stage=True) == 4
    _wait_for(successor, "S")
    assert held_up.glance("it", stage, pidfd, 4, is_stage=True) == 0


def _foreign_procfs(path: str) -> bytes:
    return b"1 " if path.endswith("/children") else _no_procfs(path)


@pytest.mark.parametrize("reading", [read_file, _no_procfs, _foreign_procfs])
def test_a_stopped_child_that_a_stage_has_forked_is_killed_with_it(
    child: Callable[..., tuple[int, int]], monkeypatch: pytest.MonkeyPatch, reading: Callable[[str], bytes]
) -> None:
    """Even if the kernel lists no children (CONFIG_PROC_CHILDREN), or procfs shows another pid namespace."""
    stage, _ = child(signal.pause)
    monkeypatch.setattr(held_up, "read_file", reading)
    held_up.end_successor(stage)
    successor, _ = child(_stop_once)
    _wait_for(successor, "T")
    held_up.end_successor(stage)
    _wait_for(successor, "Z")
    _wait_for(stage, "S")

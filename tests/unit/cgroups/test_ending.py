"""Signals to all processes in a cgroup, but only to those that are still in it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocipy.cgroups import ending, freezer
from ocipy.errors import Error


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """One of our processes."""
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def listings(*lists: list[int]) -> Callable[[], list[int]]:
    """The cgroup's list of processes, call by call; the last list repeats."""
    rest = list(lists)
    return lambda: rest.pop(0) if len(rest) > 1 else rest[0]


def test_a_member_is_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    ending._signal_running(listings([sleeper.pid]), signal.SIGKILL)
    assert sleeper.wait(10) == -signal.SIGKILL


def test_a_process_that_has_left_the_cgroup_is_not_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    """The pidfd is opened after the list is read: by then the pid may belong to another process, outside the list."""
    ending._signal_running(listings([sleeper.pid], []), signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.2)


def test_a_process_outside_our_pid_namespace_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel lists such a process as 0 (cgroups(7)), and 0 is our own process group to kill(2)."""
    killed: list[int] = []
    monkeypatch.setattr("posix.kill", lambda pid, _signal: killed.append(pid))

    class Members:
        def processes(self) -> list[int]:
            return [0, os.getpid()]

    ending._signal(Members(), signal.SIGTERM, True)  # type: ignore[arg-type]
    assert killed == [os.getpid()]


class Frozen:
    """A v1 cgroup whose freezer records the actions in order."""

    mode = "v1"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, frozen: bool = False, freezes: bool = True) -> None:
        self.paths = {"freezer": "/nowhere"}
        self.done: list[str] = []

        def freeze(_paths: object) -> None:
            self.done.append("freeze")
            if not freezes:
                raise Error("cannot freeze")

        monkeypatch.setattr(freezer, "is_frozen", lambda _paths: frozen)
        monkeypatch.setattr(freezer, "freeze", freeze)
        monkeypatch.setattr(freezer, "thaw", lambda _paths: self.done.append("thaw"))
        monkeypatch.setattr(freezer, "thaw_all", lambda _paths: self.done.append("thaw all"))
        monkeypatch.setattr("posix.kill", lambda _pid, _signal: self.done.append("kill"))
        monkeypatch.setattr(ending, "_signal_running", lambda _members, _signal: self.done.append("by pidfd"))

    def processes(self) -> list[int]:
        return [os.getpid()]

    def path_of(self, _controller: str) -> str:
        return ""


@pytest.mark.parametrize(
    ("number", "options", "done"),
    [
        (signal.SIGTERM, {}, ["freeze", "kill", "thaw"]),
        (signal.SIGKILL, {}, ["freeze", "kill", "thaw all"]),
        (signal.SIGTERM, {"frozen": True}, ["kill"]),
        (signal.SIGKILL, {"frozen": True}, ["kill", "thaw all"]),
        (signal.SIGTERM, {"freezes": False}, ["freeze", "by pidfd", "thaw"]),
    ],
)
def test_no_fork_escapes_a_signal_to_all(
    monkeypatch: pytest.MonkeyPatch, number: int, options: dict[str, bool], done: list[str]
) -> None:
    """They are frozen while they are signalled, and restored afterwards; SIGKILL needs a thawed cgroup."""
    cgroup = Frozen(monkeypatch, **options)
    ending.kill_all(cgroup, number)  # type: ignore[arg-type]
    assert cgroup.done == done


def test_frozen_processes_are_thawed_even_if_a_signal_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup = Frozen(monkeypatch)

    def kill(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr("posix.kill", kill)
    with pytest.raises(PermissionError):
        ending.kill_all(cgroup, signal.SIGTERM)  # type: ignore[arg-type]
    assert cgroup.done == ["freeze", "thaw"]


def test_frozen_leftovers_on_v1_are_thawed_so_that_they_die(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that init left behind may be frozen, for instance by itself: SIGKILL takes effect only after a thaw."""
    place = tmp_path / "cgroup"
    place.mkdir()
    (place / "freezer.state").write_text("FROZEN")
    done: list[str] = []

    def thaw_all(paths: dict[str, str]) -> None:
        done.append("thaw all")
        assert paths == {"freezer": str(place)}
        (place / "freezer.state").unlink()  # it has died, so the cgroup can be removed

    monkeypatch.setattr(freezer, "thaw_all", thaw_all)
    monkeypatch.setattr(ending, "_signal_running", lambda _members, _signal: done.append("kill"))
    ending._empty(str(place))
    assert done == ["kill", "thaw all"]
    assert not place.exists()

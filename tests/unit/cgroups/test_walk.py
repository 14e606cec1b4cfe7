"""Walking a cgroup and its descendants, however deep, with few file descriptors; and signalling many processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.cgroups import ending, files, freezer

DEPTH = 1100
LONG = "n" * 255


@pytest.fixture(params=[("d", DEPTH), (LONG, 40)], ids=["deep", "long"])
def nested(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """(a directory, its depth): deeper than the longest path and Python's recursion limit."""
    name, depth = request.param
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for number in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
        os.write(procs, f"{number + 10}\n".encode())
        os.close(procs)
        os.close(os.open("freezer.state", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
    yield str(top), depth

    def empty(fd: int) -> None:
        for file in ("cgroup.procs", "freezer.state"):
            if file in os.listdir(fd):
                os.unlink(file, dir_fd=fd)

    files.walk(str(top), empty, lambda above, name: os.rmdir(name, dir_fd=above))
    assert os.listdir(top) == []


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Room for a few more file descriptors, but not for one per process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + ending.FILES + 6, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_descriptors")
def test_every_cgroup_is_found_however_deep(nested: tuple[str, int]) -> None:
    top, depth = nested
    assert sorted(files.processes(top)) == list(range(10, 10 + depth))


@pytest.mark.usefixtures("few_descriptors")
def test_every_cgroup_is_thawed_however_deep(nested: tuple[str, int]) -> None:
    top, depth = nested
    freezer.thaw_all({"freezer": top})
    thawed = []

    def look(fd: int) -> None:
        if "freezer.state" in os.listdir(fd):
            thawed.append(files.read_at(fd, "freezer.state"))

    files.walk(top, look)
    assert thawed == [b"THAWED"] * depth


def test_the_deepest_is_left_first_and_some_are_left_out(tmp_path: Path) -> None:
    for path in ("a/b/c", "a/d", "e"):
        (tmp_path / path).mkdir(parents=True)
    left: list[str] = []
    files.walk(str(tmp_path), leave=lambda above, name: left.append(name))
    assert sorted(left) == ["a", "b", "c", "d", "e"]
    assert left.index("c") < left.index("b") < left.index("a") > left.index("d")
    entered: list[str] = []

    def enter(fd: int) -> bool:
        entered.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        return entered[-1] == "a"

    files.walk(str(tmp_path), enter)
    assert sorted(entered[1:]) == ["a", "e"]
    files.walk(str(tmp_path / "missing"), enter)


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/\xff\x1c")
    (tmp_path / os.fsdecode(b"\xff\x1c") / "cgroup.procs").write_text("7\n")
    assert files.processes(str(tmp_path)) == [7]


@pytest.fixture
def sleeping() -> Iterator[list[subprocess.Popen[bytes]]]:
    made = [subprocess.Popen(["sleep", "1000"]) for _ in range(20)]
    yield made
    for one in made:
        one.kill()
        one.wait()


def test_more_processes_than_descriptors_get_a_signal(
    sleeping: list[subprocess.Popen[bytes]], few_descriptors: None
) -> None:
    pids = [one.pid for one in sleeping]

    def members() -> list[int]:
        spare = [os.dup(1) for _ in range(ending.FILES - 1)]
        for fd in spare:
            os.close(fd)
        return [0, *pids]

    ending._signal_running(members, signal.SIGKILL)
    assert [one.wait(timeout=10) for one in sleeping] == [-signal.SIGKILL] * len(sleeping)


def test_a_process_that_has_left_the_cgroup_gets_no_signal(sleeping: list[subprocess.Popen[bytes]]) -> None:
    pids = [one.pid for one in sleeping]
    answers = iter([pids, pids[:10]])
    ending._signal_running(lambda: next(answers), signal.SIGKILL)
    assert [one.wait(timeout=10) for one in sleeping[:10]] == [-signal.SIGKILL] * 10
    assert [one.poll() for one in sleeping[10:]] == [None] * 10

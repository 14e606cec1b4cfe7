"""The watch for the OOM killer's kills, on a directory that stands in for a cgroup."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.box import oom
from ocipy.box.cgroup import numbers_in, place_of, usage
from ocipy.box.record import Directory
from tests.harness.host import wait_until


def write(cgroup: Path, kills: int) -> None:
    """The file appears with its content, as the kernel's does."""
    made = cgroup.with_name("made")
    made.mkdir(exist_ok=True)
    (made / "memory.events").write_text(f"low 0\noom 1\noom_kill {kills}\noom_group_kill 0\n")
    if cgroup.exists():
        (cgroup / "memory.events").write_bytes((made / "memory.events").read_bytes())
    else:
        made.rename(cgroup)


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    """Where the box's cgroup will be."""
    return tmp_path / "cgroup"


@pytest.fixture
def paths(cgroup: Path) -> Callable[[], dict[str, str]]:
    """What the runtime says about it: nothing until it is made."""
    return lambda: {"": str(cgroup)} if cgroup.is_dir() else {}


Find = Callable[[], dict[str, str]]


def test_a_cgroup_that_is_made_later_is_watched_and_the_kill_is_known_after_its_end(cgroup: Path, paths: Find) -> None:
    with oom.Watch(paths, needed=True) as watch:
        write(cgroup, 2)
        wait_until(lambda: watch.counts.get("oom_kill") == 2, "the kill is seen", timeout=10)
        (cgroup / "memory.events").unlink()
    assert watch.counts["oom_kill"] == 2


def test_the_last_look_is_after_the_end(cgroup: Path, paths: Find) -> None:
    write(cgroup, 0)
    with oom.Watch(paths, needed=True) as watch:
        write(cgroup, 1)
    assert watch.counts["oom_kill"] == 1


def test_a_box_that_never_got_a_cgroup_was_not_killed(paths: Find) -> None:
    with oom.Watch(paths, needed=True) as watch:
        pass
    assert watch.counts == {}


def test_nothing_is_watched_where_the_cgroup_stays(cgroup: Path, paths: Find) -> None:
    write(cgroup, 1)
    with oom.Watch(paths, needed=False) as watch:
        pass
    assert watch.counts == {}


def test_a_kill_counts_even_if_the_cgroup_vanished_before_it_was_counted() -> None:
    assert oom.kills_in({"oom": 1, "oom_kill": 3}, 0) == 3
    assert oom.kills_in({"oom": 1, "oom_kill": 0}, 137) == 1
    assert oom.kills_in({"oom": 1, "oom_kill": 0}, 1) == 0
    assert oom.kills_in({"oom": 0, "oom_kill": 0}, 137) == 0
    assert oom.kills_in({}, 137) == 0


def test_a_process_stays_and_writes_what_it_saw_when_the_box_has_ended(cgroup: Path, tmp_path: Path) -> None:
    directory = Directory(tmp_path / "box")
    directory.make()
    write(cgroup, 0)
    assert oom.counts_of(directory) == {}, "nothing has watched"
    ended = subprocess.Popen(["sleep", "1000"])
    oom.stay({"": str(cgroup)}, ended.pid, directory)
    write(cgroup, 4)
    ended.kill()
    assert oom.counts_of(directory)["oom_kill"] == 4, "it waits for the process"
    ended.wait()
    os.wait()
    oom.forget(directory)
    assert oom.counts_of(directory) == {}


def test_no_process_stays_without_memory_events(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "box")
    directory.make()
    with pytest.raises(OSError, match=r"memory\.events"):
        oom.stay({"": str(tmp_path)}, os.getpid(), directory)
    with pytest.raises(OSError, match=r"memory\.events"):
        oom.stay({"memory": str(tmp_path)}, os.getpid(), directory)


def test_lines_without_a_name_and_a_number_are_left_out() -> None:
    assert numbers_in(b"oom 1\noom_kill 3\nsome avg10=0.00\n\xff x\n\n") == {"oom": 1, "oom_kill": 3}


def test_each_controller_is_looked_for_in_its_own_hierarchy(tmp_path: Path) -> None:
    hybrid = {"memory": "/m", "cpu,cpuacct": "/c", "": "/u"}
    assert place_of(hybrid, "cpuacct") == (Path("/c"), True)
    assert place_of(hybrid, "memory") == (Path("/m"), True)
    assert place_of(hybrid, "pids") == (Path("/u"), False)
    (tmp_path / "memory.current").write_text("4096\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 7\nuser_usec 7\n")
    write(tmp_path, 1)
    used = usage({"": str(tmp_path)})
    assert [used[name] for name in ("memory", "memoryLimit", "cpuMicroseconds", "processes", "oomKills")] == [
        4096, None, 7, None, 1
    ]  # fmt: skip
    assert set(usage({}).values()) == {None}, "without a cgroup nothing is known"

"""The watch for kills of the OOM killer, on a directory that stands for a cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocipy.box import oom
from ocipy.box.cgroup import numbers_in
from tests.harness.host import wait_until


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the box's cgroup is looked for; it is not there yet."""
    path = tmp_path / "cgroup"
    monkeypatch.setattr(oom, "directories", lambda _box_id: {"": path} if path.is_dir() else {})
    return path


def write(cgroup: Path, kills: int) -> None:
    cgroup.mkdir(exist_ok=True)
    (cgroup / "memory.events").write_text(f"low 0\noom 1\noom_kill {kills}\noom_group_kill 0\n")


def test_a_cgroup_that_is_made_later_is_watched_and_the_kill_is_known_after_its_end(cgroup: Path) -> None:
    with oom.Watch("0123", needed=True) as watch:
        write(cgroup, 2)
        wait_until(lambda: watch.kills == 2, "the kill is seen", timeout=10)
        (cgroup / "memory.events").unlink()
    assert watch.kills == 2


def test_the_last_look_is_after_the_end(cgroup: Path) -> None:
    write(cgroup, 0)
    with oom.Watch("0123", needed=True) as watch:
        write(cgroup, 1)
    assert watch.kills == 1


def test_a_box_that_has_not_come_to_a_cgroup_was_not_killed(cgroup: Path) -> None:
    with oom.Watch("0123", needed=True) as watch:
        pass
    assert watch.kills == 0


def test_nothing_is_watched_where_the_cgroup_stays(cgroup: Path) -> None:
    write(cgroup, 1)
    with oom.Watch("0123", needed=False) as watch:
        pass
    assert watch.kills == 0


def test_lines_that_are_no_name_and_number_are_left_out() -> None:
    assert numbers_in(b"oom 1\noom_kill 3\nsome avg10=0.00\n\xff x\n\n") == {"oom": 1, "oom_kill": 3}

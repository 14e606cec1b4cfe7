"""A box that runs out of memory says so: in the foreground and in the background, with each cgroup manager."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.conftest import Box, needs
from tests.harness.host import Host

SYSTEMD = Path("/run/systemd")
FLAGS = ("--network", "none", "--memory", "50M", "--tmpfs", "/eaten:size=100m")
EAT = ("busybox", "sh", "-c", "exec dd if=/dev/zero of=/eaten/x bs=1M count=60")


@pytest.fixture(params=["systemd", "cgroupfs"])
def manager(request: pytest.FixtureRequest) -> Iterator[str]:
    """What makes the cgroup. On v1 that is never systemd; for cgroupfs on v2, a host's systemd is hidden."""
    needs("memory")
    uses_systemd = Host().cgroup == "v2" and (SYSTEMD / "system").is_dir()
    if request.param == "systemd" and not uses_systemd:
        pytest.skip("systemd makes the cgroups of boxes on v2 alone: tests/vm/run")
    if request.param == "cgroupfs" and uses_systemd:
        subprocess.run(["mount", "-t", "tmpfs", "tests", SYSTEMD], check=True)
        yield request.param
        subprocess.run(["umount", SYSTEMD], check=True)
    else:
        yield request.param


@pytest.fixture
def box(manager: str, root_box: Box) -> Box:
    """Needs the manager, so that the boxes are removed before systemd reappears."""
    return root_box


def told(box: Box, name: str) -> None:
    """With memory.oom.group (v2) the kernel may count the chosen process twice: the second time as one of the group."""
    state = box.inspect(name)["state"]
    assert (state["exitStatus"], state["oomKilled"]) == (137, True)
    assert state["oomKills"] in ((1, 2) if Host().cgroup == "v2" else (1,))
    assert "exited (137), out of memory" in box("ps", "-a").stdout


@pytest.mark.smoke
def test_in_the_background(box: Box) -> None:
    box("run", "-d", "--name", "hungry", *FLAGS, *EAT)
    assert box("wait", "hungry").stdout == "137\n"
    told(box, "hungry")
    assert not Path("oom").exists(), "conmon has written into the caller's directory"


def test_in_the_foreground(box: Box) -> None:
    done = box("run", "--name", "hungry", *FLAGS, *EAT, status=137)
    assert "ran out of memory" in done.stderr
    told(box, "hungry")


def test_a_kill_that_the_box_survives_leaves_its_exit_status(box: Box) -> None:
    if Host().cgroup == "v2":
        pytest.skip("v2 kills the whole box (memory.oom.group)")
    survivor = "dd if=/dev/zero of=/eaten/x bs=1M count=60; echo $?; exit {}"
    for status in (0, 3):
        words = ("busybox", "sh", "-c", survivor.format(status))
        done = box("run", "--rm", *FLAGS, *words, status=status)
        assert done.stdout == "137\n"
        assert "ran out of memory, and the kernel killed 1 of its processes" in done.stderr


@pytest.mark.smoke
def test_an_oom_kill_counts_for_one_run_and_a_stop_for_none(box: Box) -> None:
    script = "[ -e /srv/again ] && exec sleep 1000; touch /srv/again; " + EAT[-1]
    box("run", "-d", "--name", "twice", *FLAGS, "busybox", "sh", "-c", script)
    assert box("wait", "twice").stdout == "137\n"
    told(box, "twice")
    box("start", "twice")
    used = box.inspect("twice")["usage"]
    assert used["memory"] and used["memoryPeak"] and (used["memoryLimit"], used["oomKills"]) == (50 << 20, 0)
    box("stop", "-t", "0", "twice")
    state = box.inspect("twice")["state"]
    assert (state["exitStatus"], state["oomKilled"], state["oomKills"]) == (137, False, 0)


@pytest.mark.parametrize("command", ["stop", "rm"])
def test_stop_and_remove_leave_nothing(box: Box, command: str) -> None:
    """The fixture looks for leftovers."""
    box("run", "-d", "--name", "quiet", *FLAGS, "busybox", "sleep", "1000")
    box(command, *(["-t", "0"] if command == "stop" else ["-f"]), "quiet")


def test_a_kill_that_conmon_has_seen_counts_for_that_run_only(box: Box) -> None:
    """conmon's file shows a kill when the counts are gone."""
    box("run", "-d", "--name", "told", "--network", "none", "busybox", "sleep", "1000")
    (Path(box.inspect("told")["bundle"]) / "oom").touch()
    box("stop", "-t", "0", "told")
    assert "exited (137), out of memory" in box("ps", "-a").stdout
    box("start", "told")
    box("stop", "-t", "0", "told")
    assert "exited (137)" in box("ps", "-a").stdout and "out of memory" not in box("ps", "-a").stdout

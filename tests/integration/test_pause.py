"""pause and resume, and the other commands on a paused container."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.cgroups import freezer
from tests.harness import Bundle, Container, Runtime, process_state, wait_until

MakeContainer = Callable[..., Container]

TICKS = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.02; done"


@pytest.mark.smoke
def test_pause_stops_all_processes_and_resume_continues_them(container: MakeContainer) -> None:
    one = container(sh=TICKS).start()
    one.wait_output("tick 2")
    one.runtime.call("pause", one.id).ok()
    assert one.status == "paused"
    # Each line is one system call: nothing more is written once the freezer is done.
    said = one.stdout
    with pytest.raises(AssertionError):
        wait_until(lambda: one.stdout != said, timeout=0.3)
    one.runtime.call("resume", one.id).ok()
    assert one.status == "running"
    wait_until(lambda: one.stdout != said)


def test_they_are_silent_and_need_no_environment(container: MakeContainer) -> None:
    """podman calls them with only XDG_RUNTIME_DIR, empty for root, and on the user's terminal."""
    one = container().start()
    bare = ("env", "-i", "XDG_RUNTIME_DIR=")
    for command, status in (("pause", "paused"), ("resume", "running")):
        result = one.runtime.call(command, one.id, prefix=bare).ok()
        assert (result.stdout, result.stderr) == ("", "")
        assert one.status == status


def test_a_failure_is_reported_in_the_log_and_on_standard_error(container: MakeContainer, work: Path) -> None:
    """containerd reads the log, and for some commands standard error."""
    one, log = container(), work / "log.json"
    result = one.runtime.call("resume", one.id, globals=["--log", log, "--log-format", "json"])
    result.fails("container not paused")
    [record] = [json.loads(line) for line in log.read_text().splitlines()]
    assert record["level"] == "error"
    assert "container not paused" in record["msg"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", record["time"])


def test_pause_twice(container: MakeContainer) -> None:
    one = container().start()
    one.runtime.call("pause", one.id).ok()
    result = one.runtime.call("pause", one.id).fails("container not running")
    assert one.status == "paused"
    if one.runtime.is_ocipy:
        assert result.stderr.endswith("\n  it is paused\n")


def test_resume_of_a_container_that_is_not_paused(container: MakeContainer) -> None:
    one = container()
    one.runtime.call("resume", one.id).fails("container not paused")
    one.start()
    one.runtime.call("resume", one.id).fails("container not paused")
    one.kill().wait_dead()
    one.runtime.call("resume", one.id).fails("container not paused")


def test_pause_of_a_stopped_container(container: MakeContainer) -> None:
    one = container().start().kill().wait_dead()
    one.runtime.call("pause", one.id).fails("container not running")


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_for_a_missing_container(runtime: Runtime, new_id: Callable[[], str], command: str) -> None:
    runtime.call(command, new_id()).fails("container does not exist")
    runtime.call(command).fails()


def test_a_created_container_can_be_paused(container: MakeContainer) -> None:
    one = container(sh="echo begun; exec sleep 1000")
    one.runtime.call("pause", one.id).ok()
    assert one.status == "paused"
    one.runtime.start(one.id).fails("cannot start a container in the paused state")
    one.runtime.call("resume", one.id).ok()
    assert one.status == "created"
    one.start()
    one.wait_output("begun")


def test_delete_refuses_a_paused_container(container: MakeContainer) -> None:
    one = container().start()
    one.runtime.call("pause", one.id).ok()
    one.runtime.delete(one.id).fails(f"cannot delete container {one.id} that is not stopped: paused")
    assert one.status == "paused"


@pytest.mark.parametrize("started", [False, True])
def test_delete_of_a_paused_container_by_force(container: MakeContainer, started: bool) -> None:
    one = container()
    if started:
        one.start()
    one.runtime.call("pause", one.id).ok()
    one.runtime.delete(one.id, force=True).ok()
    assert process_state(one.pid) in ("Z", "")
    assert one.runtime.ids() == []


@pytest.mark.parametrize("flags", [(), ("--all",)])
def test_kill_ends_a_paused_container(container: MakeContainer, flags: tuple[str, ...]) -> None:
    """On cgroup v1 signals do not kill frozen processes."""
    one = container(sh="sleep 1000 & exec sleep 1000").start()
    one.runtime.call("pause", one.id).ok()
    one.runtime.kill(one.id, signal.SIGKILL, *flags).ok()
    one.wait_dead()
    assert one.status == "stopped"
    one.runtime.call("resume", one.id).fails("container not paused")
    one.runtime.delete(one.id).ok()


@pytest.mark.ocipy_only("runc 1.5 on cgroup v1 leaves them frozen, with the signal pending")
def test_kill_all_of_a_paused_container_without_a_pid_namespace(container: MakeContainer, bundle: Bundle) -> None:
    bundle.without_namespace("pid")
    one = container(bundle, sh="sleep 1000 & echo child $!; exec sleep 1000").start()
    child = int(one.wait_output("child ").split()[1])
    one.runtime.call("pause", one.id).ok()
    one.runtime.kill(one.id, 9, "--all").ok()
    wait_until(lambda: process_state(child) in ("Z", ""))
    one.wait_dead()


@pytest.mark.parametrize("flags", [(), ("--all",)])
def test_other_signals_wait_until_it_is_resumed(container: MakeContainer, flags: tuple[str, ...]) -> None:
    one = container(sh="trap 'echo got it' USR1; echo ready; while :; do sleep 0.02; done").start()
    one.wait_output("ready")
    one.runtime.call("pause", one.id).ok()
    one.runtime.kill(one.id, "USR1", *flags).ok()
    assert one.status == "paused"
    one.runtime.call("resume", one.id).ok()
    one.wait_output("got it")


def test_resume_when_init_has_died(container: MakeContainer) -> None:
    """containerd asks for the resume, which may fail, but must not hang."""
    one = container().start()
    one.runtime.call("pause", one.id).ok()
    os.kill(one.pid, signal.SIGKILL)
    one.runtime.call("resume", one.id, timeout=10)
    one.wait_dead()
    one.runtime.delete(one.id).ok()


def test_pause_against_delete(container: MakeContainer) -> None:
    """Whichever wins, the container is gone at the end, and no command waits long."""
    for _ in range(6):
        one = container().start()
        pause = one.runtime.begin("pause", one.id)
        one.runtime.delete(one.id, force=True, timeout=15).ok()
        pause.wait()
        assert one.runtime.ids() == []
        one.reap()


def test_pause_against_kill(container: MakeContainer) -> None:
    """Whichever wins, the container ends: on v1 a frozen one with a pending SIGKILL would not."""
    for _ in range(10):
        one = container(sh="sleep 1000 & exec sleep 1000").start()
        kill = one.runtime.begin("kill", one.id, "KILL")
        pause = one.runtime.begin("pause", one.id)
        kill.wait().ok()
        pause.wait()
        one.wait_dead(30)
        one.reap()
        assert one.status == "stopped"
        one.runtime.delete(one.id).ok()


@pytest.mark.needs_cgroup_v1
@pytest.mark.ocipy_only("runc on cgroup v1 leaves it frozen, with the signal pending")
def test_a_dying_container_is_not_frozen(container: MakeContainer) -> None:
    """A pause comes between the signal of a kill and the container's end."""
    one = container(sh="sleep 1000 & exec sleep 1000").start()
    state = Path("/sys/fs/cgroup/freezer") / one.cgroups()["freezer"].lstrip("/") / "freezer.state"
    state.write_text("FROZEN")
    wait_until(lambda: state.read_text() == "FROZEN\n")
    os.kill(one.pid, signal.SIGKILL)
    assert process_state(one.pid) not in ("Z", "")
    freezer.freeze({"freezer": str(state.parent)})
    one.wait_dead()
    freezer.thaw({"freezer": str(state.parent)})


@pytest.mark.needs_cgroup_v1
@pytest.mark.ocipy_only("runc 1.5 does not thaw the remaining processes")
def test_delete_ends_frozen_leftovers(container: MakeContainer) -> None:
    """On cgroup v1 a frozen process does not die: delete thaws the remaining ones."""
    one = container().start()
    cgroup = Path("/sys/fs/cgroup/freezer") / one.cgroups()["freezer"].lstrip("/")
    below = cgroup / "below"
    below.mkdir()
    left = subprocess.Popen(["sleep", "1000"])
    try:
        (below / "cgroup.procs").write_text(str(left.pid))
        os.kill(one.pid, signal.SIGKILL)
        one.wait_dead()
        for place in (below, cgroup):
            (place / "freezer.state").write_text("FROZEN")
        wait_until(lambda: (below / "freezer.state").read_text() == "FROZEN\n")
        one.runtime.delete(one.id, timeout=15).ok()
        assert left.wait(10) == -signal.SIGKILL
        assert not cgroup.exists()
    finally:
        for place in (cgroup, below):
            if place.exists():
                (place / "freezer.state").write_text("THAWED")
        left.kill()
        left.wait(10)


def test_a_paused_container_is_listed_as_such(container: MakeContainer, runtime: Runtime) -> None:
    one = container().start()
    runtime.call("pause", one.id).ok()
    [entry] = runtime.containers()
    assert (entry["status"], entry["pid"]) == ("paused", one.pid)

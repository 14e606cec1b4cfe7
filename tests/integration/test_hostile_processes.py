"""Processes of a container that mislead or obstruct the runtime, by their names or number."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, descendants, process_state, wait_until
from tests.harness.agent import PYTHON, Agent

MakeContainer = Callable[..., Container]

# Names.

# For prctl(2), PR_SET_NAME: any 15 bytes. In octal, for printf(1).
NAMES = {
    "no-utf-8": r"\377\376\200",
    "cut-short": r"\303",
    "forged-line": r"\035ShdPnd:\t100",
    "forged-no-number": r"\034SigPnd:x",
    "newline": r"\nShdPnd:\t100",
    "parentheses": r") Z 1 (x) R",
    "blanks": r"\t \240\013x",
    "escape": r"\033[2J",
}


@pytest.fixture(params=list(NAMES.values()), ids=list(NAMES))
def named(request: pytest.FixtureRequest, container: MakeContainer) -> Container:
    """A running container whose processes, including the first, have odd names."""
    rename = f"printf '{request.param}' >/proc/self/comm"
    # Among busybox's applets only the shell keeps a name.
    one = container(sh=f"({rename}; sleep 1000 & wait) & {rename}; echo ready; wait").start()
    one.wait_output("ready")
    wait_until(lambda: len(descendants(one.pid)) == 2)
    return one


def test_no_name_misleads_a_command(named: Container, runtime: Runtime) -> None:
    for _ in range(2):
        runtime.call("pause", named.id, timeout=5).ok()
        assert named.status == "paused"
        runtime.call("resume", named.id).ok()
        assert named.status == "running"
    pids = {named.pid, *descendants(named.pid)}
    assert set(json.loads(runtime.call("ps", "--format", "json", named.id).ok().stdout)) == pids
    table = runtime.call("ps", named.id, "-eo", "pid,comm").ok().stdout
    assert {int(line.split()[0]) for line in table.split("\n")[1:-1]} == pids
    runtime.call("list").ok()
    runtime.call("update", "--resources=-", named.id, stdin=b"{}").ok()
    runtime.call("events", "--stats", named.id).ok()
    named.exec("true").ok()
    runtime.call("kill", "--all", named.id, "CONT").ok()
    assert named.status == "running"
    runtime.call("kill", "--all", named.id, "KILL").ok()
    named.wait_dead()


def test_no_name_prevents_deletion(named: Container, runtime: Runtime) -> None:
    runtime.call("pause", named.id, timeout=5).ok()
    runtime.delete(named.id, force=True).ok()
    named.reap()


# Their number.

MANY = 1501


@pytest.fixture
def crowd(container: MakeContainer, bundle: Bundle) -> Container:
    """A running container with many processes, without a separate pid namespace."""
    bundle.without_namespace("pid")
    one = container(bundle, sh=f"n=1; while [ $n -lt {MANY} ]; do sleep 1000 & n=$((n + 1)); done; echo ready; wait")
    one.start().wait_output("ready", timeout=60)
    wait_until(lambda: len(descendants(one.pid)) == MANY - 1)
    return one


def living(pids: set[int]) -> set[int]:
    return {pid for pid in pids if process_state(pid) not in ("Z", "X", "")}


def test_ps_lists_every_process_of_a_crowd(crowd: Container, runtime: Runtime) -> None:
    pids = {crowd.pid, *descendants(crowd.pid)}
    assert set(json.loads(runtime.call("ps", "--format", "json", crowd.id).ok().stdout)) == pids
    assert len(runtime.call("ps", crowd.id).ok().stdout.split("\n")) == MANY + 2


def test_kill_all_reaches_every_process_of_a_crowd(crowd: Container, runtime: Runtime) -> None:
    pids = {crowd.pid, *descendants(crowd.pid)}
    runtime.call("kill", "--all", crowd.id, "TERM", prefix=["prlimit", "--nofile=64"], timeout=60).ok()
    wait_until(lambda: not living(pids - {crowd.pid}))
    runtime.call("kill", "--all", crowd.id, "KILL").ok()
    wait_until(lambda: not living(pids))


@pytest.mark.ocipy_only("runc wants kill --all first")
def test_a_crowd_that_is_left_behind_is_deleted(crowd: Container, runtime: Runtime) -> None:
    """More processes than file descriptors; they are not descendants of the first, and do not end with it."""
    pids = descendants(crowd.pid)
    os.kill(crowd.pid, 9)
    crowd.reap()
    assert living(pids) == pids
    runtime.delete(crowd.id, prefix=["prlimit", "--nofile=64"], timeout=60).ok()
    assert not living(pids)


def test_a_crowd_is_paused_and_resumed(crowd: Container, runtime: Runtime) -> None:
    runtime.call("pause", crowd.id, timeout=60).ok()
    assert crowd.status == "paused"
    runtime.call("resume", crowd.id).ok()
    assert crowd.status == "running"


# A process whose main thread has ended lives as long as another thread (pthread_exit(3)).

HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture(params=["own-pids", "without-a-pid-namespace"])
def headless(request: pytest.FixtureRequest, bundle: Bundle, work: Path) -> Bundle:
    """A bundle with such a process."""
    reason = Agent.reason_against()
    if reason:
        pytest.skip(reason)
    Agent(bundle, work / "agent")
    bundle.args(PYTHON, "-I", "-S", "-c", HEADLESS)
    return bundle if request.param == "own-pids" else bundle.without_namespace("pid")


def begun(one: Container) -> Container:
    one.start().wait_output("ready")
    wait_until(lambda: process_state(one.pid) == "Z")
    return one


@pytest.mark.ocipy_only("runc mistakes it for dead")
@pytest.mark.parametrize("manager", [[], ["--cgroup-manager", "disabled"]], ids=["cgroup", "no-cgroup"])
def test_delete_refuses_a_container_that_only_lost_its_main_thread(
    container: MakeContainer, headless: Bundle, runtime: Runtime, manager: list[str]
) -> None:
    if manager:
        del headless.linux["cgroupsPath"]
        headless.linux.pop("resources", None)
    one = begun(container(headless, globals=manager))
    assert one.status == "running"
    runtime.delete(one.id, globals=manager).fails("cannot delete container", "that is not stopped: running")
    one.exec("true", globals=manager).fails("the main thread of the container's process has ended", status=255)
    runtime.call("kill", one.id, "KILL", globals=manager).ok()
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    assert one.status == "stopped"
    runtime.delete(one.id, globals=manager).ok()
    os.waitpid(one.pid, 0)


@pytest.mark.ocipy_only("runc mistakes it for dead")
def test_every_command_sees_a_container_that_only_lost_its_main_thread(
    container: MakeContainer, headless: Bundle, runtime: Runtime
) -> None:
    one = begun(container(headless))
    assert json.loads(runtime.call("ps", "--format", "json", one.id).ok().stdout) == [one.pid]
    runtime.call("pause", one.id).ok()
    assert one.status == "paused"
    runtime.call("resume", one.id).ok()
    runtime.call("update", "--resources=-", one.id, stdin=b"{}").ok()
    runtime.call("events", "--stats", one.id).ok()
    runtime.delete(one.id, force=True).ok()
    one.reap()


@pytest.mark.ocipy_only("runc mistakes it for dead")
@pytest.mark.parametrize("words", [["KILL"], ["--all", "KILL"]])
def test_kill_reaches_a_container_that_only_lost_its_main_thread(
    container: MakeContainer, headless: Bundle, runtime: Runtime, words: list[str]
) -> None:
    """The kernel's cgroup.kill misses it."""
    one = begun(container(headless))
    *flags, number = words
    runtime.kill(one.id, number, *flags).ok()
    wait_until(lambda: one.status == "stopped")
    one.reap()


@pytest.mark.ocipy_only("runc mistakes it for dead")
def test_run_waits_for_the_last_thread(headless: Bundle, runtime: Runtime, new_id: Callable[[], str]) -> None:
    id = new_id()
    headless.write()
    running = runtime.begin("run", "--bundle", headless.path, id)
    wait_until(lambda: "ready" in running.stdout_path.read_text())
    pid = runtime.state(id)["pid"]
    wait_until(lambda: process_state(pid) == "Z")
    time.sleep(0.2)
    assert running.process.poll() is None
    runtime.kill(id, "KILL").ok()
    assert running.wait().status == 137

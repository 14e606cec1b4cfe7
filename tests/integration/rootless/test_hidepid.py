"""A /proc that hides other users' processes (hidepid, proc(5)): an invisible process is not dead."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from tests.harness import Bundle, Container, process_state, wait_until
from tests.harness.user import UserRuntime

pytestmark = [
    pytest.mark.usefixtures("hidepid"),
    pytest.mark.ocipy_only("runc believes that a process it cannot see is dead"),
]

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]


@pytest.fixture
def sleeping(bundle: Bundle, container: MakeContainer) -> Container:
    return container(bundle.args("sleep", "1000"))


def test_run(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    assert runtime.run(bundle.args("echo", "seen"), new_id()).ok().stdout == "seen\n"


def test_run_with_a_range_of_ids(runtime: UserRuntime, ranges: Bundle, new_id: NewId) -> None:
    ranges.process["user"] = {"uid": 5, "gid": 5}
    assert runtime.run(ranges.args("id", "-u"), new_id()).ok().stdout == "5\n"


def test_every_command_sees_a_created_container(runtime: UserRuntime, sleeping: Container) -> None:
    assert sleeping.status == "created"
    assert [(entry["id"], entry["status"]) for entry in runtime.containers()] == [(sleeping.id, "created")]
    runtime.delete(sleeping.id).fails("that is not stopped: created")
    sleeping.start()
    assert sleeping.status == "running"
    assert sleeping.exec("echo", "in").ok().stdout == "in\n"
    runtime.delete(sleeping.id).fails("that is not stopped: running")
    runtime.kill(sleeping.id, "KILL").ok()
    sleeping.wait_dead()
    assert sleeping.status == "stopped", "a zombie"
    sleeping.reap()
    assert sleeping.status == "stopped"
    runtime.delete(sleeping.id).ok()


def test_delete_by_force_leaves_no_init_behind(runtime: UserRuntime, sleeping: Container) -> None:
    runtime.delete(sleeping.id, force=True).ok()
    assert process_state(sleeping.pid) in ("Z", "")
    sleeping.reap()


def test_exec_fails_if_it_cannot_see_a_namespace(runtime: UserRuntime, sleeping: Container) -> None:
    """Before the start the process is undumpable, so its files are unreadable."""
    ran = sleeping.exec("readlink", "/proc/self/ns/pid")
    if ran.status == 0:
        assert ran.stdout.strip() == os.readlink(sleeping.proc("ns/pid"))
    else:
        ran.fails("cannot look at the namespaces of the container's process", status=255)


def test_a_reused_pid_is_not_the_containers(runtime: UserRuntime, sleeping: Container) -> None:
    """The container's process has exited, and by now its pid belongs to another user's process."""
    runtime.kill(sleeping.id, "KILL").ok()
    sleeping.reap()
    path = runtime.root / sleeping.id / "state.json"
    state = json.loads(path.read_text())
    state["pid"] = 1
    path.write_text(json.dumps(state))
    assert sleeping.status == "stopped"
    state["pidfdInode"] = 0  # as before Linux 6.9
    path.write_text(json.dumps(state))
    assert sleeping.status == "stopped"
    runtime.delete(sleeping.id, force=True).ok()
    wait_until(lambda: process_state(1) not in ("Z", ""))

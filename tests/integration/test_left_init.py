"""No init is orphaned: it exits if its create has exited, or if the FIFO at which it waits is removed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from tests.harness import Bundle, Container, Runtime, proc_status, process_state, wait_until

pytestmark = pytest.mark.ocipy_only("its own FIFO")

MakeContainer = Callable[..., Container]
# Init's time to notice that the FIFO is gone, in seconds.
WATCH_INTERVAL = 10


def test_an_init_whose_fifo_is_removed_exits(container: MakeContainer, runtime: Runtime) -> None:
    one = container()
    (runtime.root / one.id / "exec.fifo").unlink()
    one.wait_dead(WATCH_INTERVAL + 5)
    runtime.delete(one.id).ok()
    one.reap()


@pytest.mark.needs_program("strace")
def test_an_init_whose_create_was_killed_too_early_exits(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]
) -> None:
    """create is killed at the last moment: init has announced that it waits, but the container is not created yet."""
    id = new_id()
    bundle.args("sleep", "1000").write()
    fault = ["-P", str(runtime.root / id / "exec.fifo.new"), "-e", "inject=rename:error=EIO:signal=KILL"]
    runtime.call("create", "--bundle", bundle.path, id, prefix=["strace", "-f", "-o", "/dev/null", *fault])
    pid = json.loads((runtime.root / id / "state.json").read_text())["pid"]
    wait_until(lambda: process_state(pid) in ("Z", ""), "the end of init")
    assert runtime.state(id)["status"] == "stopped"
    runtime.delete(id).ok()


@pytest.mark.needs_program("strace")
def test_a_run_that_is_killed_after_the_exec_leaves_a_running_container(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]
) -> None:
    """It is killed before it removes the file that says that the container is being created."""
    id = new_id()
    bundle.args("sleep", "1000").write()
    mark = runtime.root / id / "exec.fifo.new"
    fault = ["-P", str(mark), "-e", "inject=unlink:error=EIO:signal=KILL"]
    runtime.call("run", "--detach", "--bundle", bundle.path, id, prefix=["strace", "-o", "/dev/null", *fault])
    assert mark.exists()
    assert runtime.state(id)["status"] == "running"
    runtime.call("exec", id, "true").ok()
    runtime.delete(id, force=True).ok()


def test_an_init_whose_state_cannot_be_read_exits_at_delete(container: MakeContainer, runtime: Runtime) -> None:
    one = container()
    state = runtime.root / one.id / "state.json"
    text = state.read_text()
    state.write_text("{")
    runtime.call("state", one.id).fails("the state is not readable")
    again = runtime.root / "again"
    again.mkdir()
    (again / "state.json").write_text(text.replace(one.id, "again"))
    runtime.delete(one.id, force=True).ok()
    one.wait_dead(5)
    one.reap()
    runtime.delete("again", force=True).ok()


def test_delete_by_force_keeps_a_container_that_it_cannot_inspect(container: MakeContainer, runtime: Runtime) -> None:
    """The state exists, but no file descriptor is free to read it."""
    one = container()
    for files in range(4, 9):
        runtime.delete(one.id, force=True, prefix=["prlimit", f"--nofile={files}"])
        # If it was killed, it may take a moment to exit; otherwise its state is unchanged.
        wait_until(lambda: process_state(one.pid) in ("Z", "") or one.status == "created", "the end, or no change")
    if process_state(one.pid) not in ("Z", ""):
        runtime.delete(one.id, force=True).ok()
    one.reap()


@pytest.mark.needs_program("strace")
def test_run_ends_a_container_that_it_can_no_longer_wait_for(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]
) -> None:
    id = new_id()
    bundle.args("sleep", "1000").write()
    fault = ["-e", "trace=poll", "-e", "inject=poll:error=ENOMEM:when=1"]
    running = runtime.begin("run", "--bundle", bundle.path, id)
    wait_until(lambda: '"running"' in runtime.call("state", id).stdout)
    pid = runtime.state(id)["pid"]
    strace = runtime.spawn(["strace", "-p", str(running.pid), "-o", "/dev/null", *fault])
    wait_until(lambda: proc_status(running.pid)["TracerPid"] != "0")
    running.signal(signal.SIGCONT)  # for the process: the next poll fails
    running.wait(20).fails("cannot allocate memory", status=None)
    strace.wait()
    assert process_state(pid) in ("Z", "")
    assert runtime.ids() == []

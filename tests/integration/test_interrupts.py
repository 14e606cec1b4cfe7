"""Signals and other commands during create: it gives up at once, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, process_state, wait_until
from tests.harness.runtime import Running

pytestmark = pytest.mark.ocipy_only("runc dies at once, and leaves what it has made")

NewId = Callable[[], str]
Check = Callable[[], None]

HOST_KINDS = ("prestart", "createRuntime", "poststart")
INNER_KINDS = ("createContainer", "startContainer")


def _hang(bundle: Bundle, kind: str) -> Path:
    """A hook that writes its pid and sleeps. The file that it writes to."""
    inside = kind == "startContainer"
    marker = bundle.rootfs / "marker" if inside else bundle.path / "marker"
    script = f"echo $$ > {'/marker' if inside else marker}; exec sleep 100"
    bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    bundle.config["root"]["readonly"] = False
    bundle.args("sleep", "100").write()
    return marker


def _written(marker: Path) -> bool:
    return marker.exists() and marker.read_text().endswith("\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("kind", HOST_KINDS + INNER_KINDS)
def test_run_is_interrupted_in_a_hook(
    runtime: Runtime, bundle: Bundle, new_id: NewId, assert_nothing_left: Check, kind: str, number: signal.Signals
) -> None:
    marker = _hang(bundle, kind)
    running = runtime.begin("run", "--bundle", bundle.path, new_id())
    wait_until(lambda: _written(marker))
    running.signal(number)
    running.wait(5).fails(f"interrupted by {number.name}", status=128 + number)
    if kind in HOST_KINDS:
        assert process_state(int(marker.read_text())) in ("", "Z")
    assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_start_is_interrupted_in_a_poststart_hook(
    runtime: Runtime, bundle: Bundle, new_id: NewId, assert_nothing_left: Check, number: signal.Signals
) -> None:
    """The hook does not survive it, so it has failed, and the container is stopped (runtime.md, Lifecycle)."""
    marker = _hang(bundle, "poststart")
    id = new_id()
    runtime.create(bundle, id).ok()
    running = runtime.begin("start", id)
    wait_until(lambda: _written(marker))
    running.signal(number)
    running.wait(5).fails(f"interrupted by {number.name}", status=128 + number)
    assert process_state(int(marker.read_text())) in ("", "Z")
    assert_nothing_left()


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_create_is_interrupted_in_a_hook(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, assert_nothing_left: Check, kind: str
) -> None:
    marker = _hang(bundle, kind)
    running = runtime.begin("create", "--pid-file", work / "pid", "--bundle", bundle.path, new_id())
    wait_until(lambda: _written(marker))
    running.signal(signal.SIGTERM)
    running.wait(5).fails("interrupted by SIGTERM", status=143)
    assert not (work / "pid").exists()
    assert_nothing_left()


@pytest.mark.parametrize("command", ["run", "delete", "create"])
def test_a_poststop_hook_that_hangs_is_interrupted(
    runtime: Runtime, bundle: Bundle, new_id: NewId, assert_nothing_left: Check, command: str
) -> None:
    """Everything is gone by then, apart from leftovers of the hooks."""
    marker = _hang(bundle, "poststop")
    second = bundle.path / "second"
    bundle.config["hooks"]["poststop"].append({"path": "/bin/sh", "args": ["sh", "-c", f"echo > {second}"]})
    if command == "create":
        bundle.config["hooks"]["createRuntime"] = [{"path": "/bin/false"}]
    bundle.args("true").write()
    id = new_id()
    if command == "delete":
        runtime.call("run", "--detach", "--bundle", bundle.path, id).ok()
        wait_until(lambda: runtime.state(id)["status"] == "stopped")
        running = runtime.begin("delete", id)
    else:
        running = runtime.begin(command, "--bundle", bundle.path, id)
    wait_until(lambda: _written(marker))
    running.signal(signal.SIGTERM)
    result = running.wait(5)
    assert "interrupted by SIGTERM: the poststop hooks were interrupted" in result.stderr
    assert result.status == (1 if command == "create" else 0)
    assert process_state(int(marker.read_text())) in ("", "Z")
    assert not second.exists()
    assert_nothing_left()


@pytest.fixture
def waiting(request: pytest.FixtureRequest, runtime: Runtime, container: Callable[..., Container]) -> Iterator[Running]:
    """A waiting command: for the container's lock, which this test holds, or for an event."""
    words = request.param.split()
    one = container()
    if words[0] not in ("start", "delete"):
        one.start()
    lock = os.open(runtime.root / one.id, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    running = runtime.begin(*words, one.id)
    time.sleep(0.5 * float(os.environ.get("OCIPY_TEST_TIMEOUT_FACTOR", "1")))
    assert running.process.poll() is None, "it does not wait"
    yield running
    os.close(lock)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    "waiting",
    ["start", "delete", "update --pids-limit 9", "pause", "events --interval 100s"],
    indirect=True,
)
def test_every_command_that_waits_is_ended_by_a_signal(waiting: Running, number: signal.Signals) -> None:
    """exec: test_exec_life.py; checkpoint, restore: test_checkpoint_errors.py."""
    waiting.signal(number)
    assert waiting.wait(5).status in (-number, 128 + number)


def test_an_ignored_signal_is_ignored(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    marker = bundle.path / "marker"
    script = f"echo > {marker}; sleep 0.3"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    bundle.args("true").write()
    running = runtime.begin("run", "--bundle", bundle.path, new_id(), prefix=["nohup"])
    wait_until(marker.exists)
    running.signal(signal.SIGHUP)
    running.wait().ok()


def test_other_signals_wait_for_the_process(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    marker = bundle.path / "marker"
    script = f"echo > {marker}; sleep 0.3"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    # Without a pid namespace: a pid 1 gets no signal without a handler.
    bundle.linux["namespaces"].remove({"type": "pid"})
    bundle.args("sleep", "100").write()
    running = runtime.begin("run", "--bundle", bundle.path, new_id())
    wait_until(marker.exists)
    running.signal(signal.SIGUSR1)
    assert running.wait(5).status == 128 + signal.SIGUSR1


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_delete_by_force_ends_a_create_that_hangs(
    runtime: Runtime, bundle: Bundle, new_id: NewId, assert_nothing_left: Check, kind: str
) -> None:
    marker = _hang(bundle, kind)
    id = new_id()
    create = runtime.begin("create", "--bundle", bundle.path, id)
    wait_until(lambda: _written(marker))
    begun = time.monotonic()
    runtime.delete(id, force=True).ok()
    assert time.monotonic() - begun < 5
    create.wait(5).fails("the init process was killed by signal 9")
    assert_nothing_left()


def test_a_killed_create_is_stopped_for_every_command(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    marker = _hang(bundle, "createContainer")
    id = new_id()
    create = runtime.begin("create", "--bundle", bundle.path, id)
    wait_until(lambda: _written(marker))
    create.signal(signal.SIGKILL)
    create.wait()
    wait_until(lambda: runtime.state(id)["status"] == "stopped")
    runtime.start(id).fails("cannot start a container that has stopped")
    runtime.delete(id).ok()


def test_poststop_hooks_run_once_when_delete_overtakes_run(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    count = bundle.path / "count"
    script = f"echo once >> {count}"
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    bundle.args("sleep", "100").write()
    for _ in range(4):
        id = new_id()
        running = runtime.begin("run", "--bundle", bundle.path, id)
        wait_until(lambda: '"running"' in runtime.call("state", id).stdout)  # noqa: B023
        runtime.delete(id, force=True).ok()
        assert running.wait(5).status == 137
        assert count.read_text() == "once\n"
        count.unlink()


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"bundle": 1}', '{"pid": {}}', '{"id":', "\\xff", '{"cgroup": {"paths": 5}}'],
)
def test_an_invalid_state(runtime: Runtime, bundle: Bundle, new_id: NewId, text: str) -> None:
    id = new_id()
    (runtime.root / id).mkdir(parents=True)
    (runtime.root / id / "state.json").write_text(text)
    for command in ("state", "start", "kill", "delete"):
        result = runtime.call(command, id).fails("the state is not readable")
        assert "internal error" not in result.stderr
    runtime.delete(id, force=True).ok()


def test_a_warning_that_nobody_reads(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """SIGPIPE must not kill create half-way."""
    reading, writing = os.pipe()
    os.close(reading)
    bundle.config["linux"]["maskedPaths"] = []
    bundle.config["mounts"].append({"destination": "/mnt/p", "type": "proc", "source": "proc"})
    bundle.process["capabilities"]["ambient"] = ["CAP_SYS_ADMIN"]
    id = new_id()
    bundle.args("true").write()
    runtime.call("create", "--bundle", bundle.path, id, stderr=writing).ok()
    os.close(writing)
    runtime.delete(id, force=True).ok()

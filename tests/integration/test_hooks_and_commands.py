"""Commands for a container while one of its hooks runs, from the hook itself and from elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.harness import Bundle, Runtime, process_state, wait_until
from tests.harness.look import cgroup_value
from tests.harness.runtime import Running

NewId = Callable[[], str]
Check = Callable[[], None]
Begin = Callable[[str], tuple[Running, str]]

pytestmark = pytest.mark.ocipy_only("runc 1.5 runs the poststart hooks in create")
# A command waits up to 10 s for a held lock.
AT_ONCE = 5


@pytest.fixture(params=["start", "run", "run --detach"])
def begin(
    request: pytest.FixtureRequest, runtime: Runtime, bundle: Bundle, new_id: NewId, assert_nothing_left: Check
) -> Begin:
    """Start a container with this script as poststart hook; it can use ID and OCIPY. Wait for its end."""

    def start(script: str) -> tuple[Running, str]:
        id = new_id()
        script = script.replace("OCIPY", f"{runtime.path} --root {runtime.root}").replace("ID", id)
        bundle.config["hooks"] = {"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        bundle.linux.setdefault("resources", {})["pids"] = {"limit": 100}
        bundle.args("sleep", "1000").write()
        if request.param == "start":
            runtime.create(bundle, id).ok()
            running = runtime.begin("start", id)
        else:
            running = runtime.begin(*request.param.split(), "--bundle", bundle.path, id)
        return running, id

    return start


def _deleted(runtime: Runtime) -> bool:
    return runtime.ids() == []


@pytest.mark.parametrize("command", ["update --pids-limit 50 ID", "pause ID && OCIPY resume ID", "delete --force ID"])
def test_from_inside_a_poststart_hook(
    begin: Begin, runtime: Runtime, bundle: Bundle, assert_nothing_left: Check, command: str
) -> None:
    said = bundle.path / "said"
    running, id = begin(f"OCIPY {command} > {said} 2>&1; echo $? >> {said}")
    wait_until(lambda: said.exists() and said.read_text().endswith("\n"), timeout=AT_ONCE)
    assert said.read_text() == "0\n"
    if "delete" not in command:
        runtime.delete(id, force=True).ok()
    running.wait(AT_ONCE)
    assert _deleted(runtime)


def test_from_outside_during_a_slow_poststart_hook(begin: Begin, runtime: Runtime, bundle: Bundle) -> None:
    marker = bundle.path / "marker"
    running, id = begin(f"echo > {marker}; exec sleep 1000")
    wait_until(marker.exists)
    begun = time.monotonic()
    runtime.call("update", "--pids-limit", "50", id).ok()
    assert cgroup_value(runtime.state(id)["pid"], "pids", "pids.max") == "50"
    runtime.call("pause", id).ok()
    assert runtime.state(id)["status"] == "paused"
    runtime.call("resume", id).ok()
    runtime.delete(id, force=True).ok()
    assert time.monotonic() - begun < AT_ONCE
    assert _deleted(runtime)
    running.process.terminate()
    running.wait(AT_ONCE)


def test_a_failing_poststart_hook_ends_only_the_container_that_was_started(
    runtime: Runtime, bundle: Bundle, new_id: NewId
) -> None:
    """The hook has deleted it, and another container has its id by now."""
    id = new_id()
    call = f"{runtime.path} --root {runtime.root}"
    script = f"{call} delete --force {id}; {call} run --detach --bundle {bundle.path} --config second.json {id}; exit 3"
    bundle.args("sleep", "1000")
    (bundle.path / "second.json").write_text(json.dumps(bundle.config))
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    runtime.create(bundle, id).ok()
    runtime.start(id).fails("/hooks/poststart/0", "exit status 3")
    state = runtime.state(id)
    assert state["status"] == "running"
    runtime.delete(id, force=True).ok()
    wait_until(lambda: process_state(state["pid"]) in ("", "Z"))

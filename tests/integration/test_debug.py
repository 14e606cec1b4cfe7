"""--debug: the steps of both lanes in the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime

pytestmark = pytest.mark.ocipy_only("runc logs other things")

NewId = Callable[[], str]


def actions(lines: list[str], lane: str) -> list[str]:
    """A lane's actions, from lines like "host clone pid mount /linux/namespaces"."""
    return [line.split()[1] for line in lines if line.startswith(lane + " ")]


def records(log: Path) -> list[str]:
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert {record["level"] for record in found} == {"debug"}
    return [record["msg"] for record in found]


def test_all_steps_of_create_in_order(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    bundle.sh("true").write()
    plan = runtime.call("plan", "--format", "json", bundle.path).ok().json
    log, id = work / "log", new_id()
    runtime.call("--debug", "--log", log, "--log-format", "json", "create", "--bundle", bundle.path, id).ok()
    runtime.delete(id, force=True).ok()
    lines = records(log)
    assert actions(lines, "host") == [step["action"] for step in plan["host"]]
    # The steps after the wait run only after the host lane has ended.
    expected = [step["action"] for step in plan["init"]]
    assert actions(lines, "init") == expected[: expected.index("wait_for_start") + 1]
    (rootfs,) = [line for line in lines if line.startswith("init rootfs ")]
    assert rootfs.endswith(" /root/path")


def test_steps_on_standard_error_up_to_the_one_that_failed(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path
) -> None:
    bundle.mount("/data", str(work / "missing"), "rbind", "ro").write()
    result = runtime.call("--debug", "run", "--bundle", bundle.path, new_id()).fails("cannot bind")
    lines = [line.removeprefix("ocipy: ") for line in result.stderr.splitlines()]
    last = [line for line in lines if line.startswith("init ")][-1]
    pointer = f"/mounts/{len(bundle.config['mounts']) - 1}"
    assert last.startswith("init bind ") and last.endswith(" " + pointer)
    assert lines[-2].startswith("run ") and f": {pointer}: cannot bind" in lines[-2]


def test_exec(container: Callable[..., Container], runtime: Runtime, work: Path) -> None:
    one = container(sh="sleep 1000").start()
    log = work / "log"
    runtime.call("--debug", "--log", log, "--log-format", "json", "exec", one.id, "true").ok()
    lines = records(log)
    assert actions(lines, "host")[-1] == "executed"
    assert "no_new_privileges" in actions(lines, "init")


def test_with_a_trace(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    """Each works as it does without the other."""
    bundle.sh("true").write()
    words = ("run", "--bundle", bundle.path, new_id())
    runtime.call("--debug", "--log", work / "log", "--log-format", "json", "--trace", work / "trace", *words).ok()
    assert "clone" in actions(records(work / "log"), "host")
    names = {event["name"] for event in json.loads((work / "trace").read_text())["traceEvents"]}
    assert {"clone", "rootfs", "execute"} <= names

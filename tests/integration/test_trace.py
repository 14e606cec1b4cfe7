"""--trace of whole commands: both lanes, on one clock, also for failing commands."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Runtime

pytestmark = pytest.mark.ocipy_only(reason="--trace")


def complete(path: Path) -> list[dict[str, Any]]:
    """The complete events of a trace, as a viewer reads them."""
    document = json.loads(path.read_bytes())
    assert document["otherData"] == {"clock": "CLOCK_MONOTONIC"}
    for event in document["traceEvents"]:
        assert event["ph"] in ("X", "M", "s", "f"), event
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int), event
        if event["ph"] == "X":
            assert event["ts"] > 0 and event["dur"] >= 0, event
    return [event for event in document["traceEvents"] if event["ph"] == "X"]


def names(events: list[dict[str, Any]], category: str) -> list[str]:
    return [event["name"] for event in events if event["cat"] == category]


def test_run_has_both_lanes_and_what_is_before_and_after(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    file = work / "trace.json"
    before = time.monotonic() * 1e6
    runtime.run(bundle.args("true"), new_id(), globals=["--trace", file]).ok()
    after = time.monotonic() * 1e6
    assert file.stat().st_mode & 0o777 == 0o600
    events = complete(file)
    phases = names(events, "phase")
    for phase in (
        "start of the process",
        "run",
        "read config.json",
        "plan",
        "probe the host",
        "carry out the plan, until the process has executed",
        "wait for the end",
    ):
        assert phase in phases
    plan = json.loads(runtime.call("plan", "--format", "json", bundle.path).ok().stdout)
    planned = {step["action"] for lane in ("host", "init") for step in plan[lane]}
    assert planned - {"fifo", "created", "wait_for_start"} <= {*names(events, "host"), *names(events, "init")}
    assert names(events, "host")[-2:] == ["executed", "running"]
    assert names(events, "init")[-1] == "execute"
    assert len({event["tid"] for event in events if event["cat"] == "init"}) == 1
    # The kernel gives a process's start in ticks of 10 ms.
    assert all(before - 10_000 <= event["ts"] and event["ts"] + event["dur"] <= after for event in events)
    assert not any(event["args"].get("failed") for event in events)


def test_create_ends_where_init_waits(container: Callable[..., Container], runtime: Runtime, work: Path) -> None:
    file = work / "trace.json"
    one = container(None, globals=["--trace", file])
    events = complete(file)
    waiting = next(event for event in events if event["name"] == "wait_for_start")
    assert waiting["args"]["unfinished"]
    assert waiting["tid"] == one.pid
    assert "execute" not in names(events, "init")
    one.start()
    assert json.loads(file.read_bytes())["traceEvents"]


@pytest.mark.parametrize(
    ("member", "value", "action", "lane"),
    [
        ("args", ["/no/such/program"], "command", "init"),
        ("rlimits", [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}], "rlimit", "init"),
    ],
)
def test_the_step_that_failed_is_marked(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path,
    member: str, value: object, action: str, lane: str,
) -> None:  # fmt: skip
    file = work / "trace.json"
    bundle.config["process"][member] = value
    runtime.create(bundle, new_id(), globals=["--trace", file]).fails()
    events = complete(file)
    failed = [event for event in events if event["args"].get("failed")]
    assert (action, lane) in {(event["name"], event["cat"]) for event in failed}
    assert next(event for event in events if event["name"] == "carry out the plan")["args"]["error"]
    assert next(event for event in events if event["name"] == "create")["args"]["status"] == 1
    assert "undo" in names(events, "phase")


def test_other_commands_are_traced_too(container: Callable[..., Container], runtime: Runtime, work: Path) -> None:
    one = container()
    for command in ("state", "start"):
        file = work / f"{command}.json"
        runtime.call(command, one.id, globals=["--trace", file]).ok()
        assert command in names(complete(file), "phase")


def test_a_file_that_cannot_be_written_is_an_error_before_anything_is_made(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    (work / "link").symlink_to("elsewhere")
    for path, words in (
        (work / "no/trace", "No such file"),
        (work / "link", "symbolic link"),
        ("/dev/null", "regular"),
    ):
        runtime.create(bundle, new_id(), globals=["--trace", path]).fails("trace", words)
    assert not (work / "elsewhere").exists()
    assert runtime.ids() == []


def test_the_payload_gets_no_descriptor_of_it(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    """Even if the caller passes fewer file descriptors than announced, which is a separate error."""
    globals = ["--trace", work / "trace.json"]
    result = runtime.run(bundle.sh("ls -l /proc/self/fd"), new_id(), globals=globals).ok()
    assert "trace" not in result.stdout and "memfd" not in result.stdout
    refused = runtime.run(bundle, new_id(), "--preserve-fds", "1", globals=globals)
    refused.fails("unable to stat preserved-fd 0")


def test_a_full_disk_does_not_change_what_the_command_did(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    place = work / "full"
    place.mkdir()
    assert os.system(f"mount -t tmpfs -o size=4k none {place}") == 0
    try:
        result = runtime.run(bundle.args("true"), new_id(), globals=["--trace", place / "trace"]).ok()
    finally:
        assert os.system(f"umount {place}") == 0
    assert "cannot write the trace: No space left on device" in result.stderr

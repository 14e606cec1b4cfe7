"""--trace: the document, the trust in init's messages, and the file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocipy import phases
from ocipy.errors import Error
from ocipy.host.context import HostRun
from ocipy.linux import _kernel
from ocipy.operations import bundle
from ocipy.plan.lane import TellHost, TellInit, WaitForHost, WaitForInit
from ocipy.plan.model import Options, Plan
from ocipy.plan.uts import Hostname
from ocipy.state.state import State
from ocipy.tracing import record, trace
from ocipy.tracing.format import document, init_steps
from ocipy.tracing.record import SIZE, Trace, clock
from tests.unit.child import in_child


@pytest.fixture
def traced(tmp_path: Path) -> Trace:
    """A trace of a plan with a barrier, before its execution."""
    plan = Plan()
    plan.host.append(TellInit(barrier="go"))
    plan.host.append(WaitForInit(barrier="ready"))
    plan.init.append(WaitForHost(barrier="go"))
    plan.init.append(Hostname("/hostname", name="web"))
    plan.init.append(TellHost(barrier="ready"))
    made = Trace(str(tmp_path / "trace"), "create")
    run = HostRun({}, Options(container_id="c", bundle="/b"), plan, State("/nowhere/c", "c", "/b"))  # type: ignore[typeddict-item]
    run.pid = 77
    for _ in made.host_lane(run):
        pass
    return made


def events(made: Trace, status: int = 0, **wanted: str) -> list[dict[str, Any]]:
    """The document's events with these members, in order of their begin."""
    found = json.loads(json.dumps(document(made, status, clock())))["traceEvents"]
    return sorted(
        (event for event in found if all(event.get(name) == value for name, value in wanted.items())),
        key=lambda event: event.get("ts", 0),
    )


@pytest.fixture
def timed(traced: Trace) -> Iterator[Trace]:
    """A trace that times phases."""
    phases.time_phases(traced.phase)
    yield traced
    phases.stop_timing()


def test_the_times_of_init_come_from_another_process(traced: Trace) -> None:
    assert traced.run is not None
    steps = traced.run.plan.init
    before = clock()
    assert in_child(lambda: [step.action for step in traced.init_lane(steps)] == ["wait", "hostname", "tell"]) == 0
    found = events(traced, cat="init")
    assert [event["name"] for event in found] == ["wait", "hostname", "tell"]
    assert before / 1000 <= found[0]["ts"] <= found[1]["ts"] <= clock() / 1000
    assert found[1]["args"] == {"pointer": "/hostname", "what": "web"}
    assert {event["tid"] for event in found} == {77}
    assert {event["tid"] for event in events(traced, cat="host")} == {os.getpid()}


def test_each_barrier_is_an_arrow(traced: Trace) -> None:
    assert traced.run is not None
    for _ in traced.init_lane(traced.run.plan.init):
        pass
    tails, heads = events(traced, ph="s"), events(traced, ph="f")
    assert {(event["name"], event["tid"]) for event in tails} == {("go", os.getpid()), ("ready", 77)}
    assert {(event["name"], event["tid"]) for event in heads} == {("go", 77), ("ready", os.getpid())}
    assert {event["name"]: event["id"] for event in tails} == {event["name"]: event["id"] for event in heads}


def test_an_arrow_comes_from_the_other_lane(traced: Trace) -> None:
    """Even if the lane that waits for "go" also tells something of that name."""
    assert traced.run is not None
    traced.run.plan.init[-1] = TellHost(barrier="go")
    for _ in traced.init_lane(traced.run.plan.init):
        pass
    assert [event["tid"] for event in events(traced, ph="s", name="go")] == [os.getpid()]


def test_a_step_that_fails_is_marked_and_the_last_one(traced: Trace) -> None:
    assert traced.run is not None
    lane = traced.init_lane(traced.run.plan.init)
    with pytest.raises(OSError, match="no"):
        for step in lane:
            if step.action == "hostname":
                raise OSError("no")
    lane.close()  # type: ignore[attr-defined]
    found = events(traced, cat="init")
    assert [(event["name"], event["args"].get("failed")) for event in found] == [("wait", None), ("hostname", True)]


@pytest.mark.parametrize("executes", [phases.START, phases.EXEC])
def test_a_step_that_waits_lasts_to_the_end_or_to_the_exec(traced: Trace, executes: str) -> None:
    assert traced.run is not None
    lane = iter(traced.init_lane(traced.run.plan.init))
    next(lane)
    end = clock()
    (step,) = init_steps(traced, end)
    assert step[2] == end
    assert step[3]["unfinished"]
    executed = clock()
    traced.events.append((executes, end, executed, {}))
    (step,) = init_steps(traced, clock())
    assert step[2] == executed
    assert "unfinished" not in step[3]


@pytest.mark.parametrize("number", [1, 2**63, 2**64 - 1])
def test_what_init_writes_is_made_plausible(traced: Trace, number: int) -> None:
    """An attacker may control the process: times stay within the command's, and increase."""
    assert traced.times is not None
    for index in range(3 * SIZE):
        traced.times[index] = number if index % 2 else number - 1 or 5
    end = clock()
    steps = init_steps(traced, end)
    assert steps
    earliest = traced.entered
    for _, begin, until, _ in steps:
        assert earliest <= begin <= until <= end
        earliest = until


def test_a_phase_is_timed_and_says_what_failed(timed: Trace) -> None:
    assert phases.is_timed()
    config = Path(timed.path).with_name("config.json")
    config.write_text("{}")
    before = clock()
    for text in ("{}", "{"):
        config.write_text(text)
        with pytest.raises(Error):
            bundle.read(str(config.parent))
    good, bad = events(timed, name="parse it")
    assert before / 1000 <= good["ts"] <= good["ts"] + good["dur"] <= bad["ts"]
    assert "error" not in good["args"]
    assert bad["args"]["error"].startswith(f"{config}: not JSON")
    (checked,) = events(timed, name="check it against the schema")
    assert "error" not in checked["args"]


def test_phases_nest(timed: Trace) -> None:
    with pytest.raises(KeyboardInterrupt), phases.phase("outer"), phases.phase("inner"):
        raise KeyboardInterrupt
    (outer,), (inner,) = events(timed, name="outer"), events(timed, name="inner")
    assert outer["ts"] <= inner["ts"] <= inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]


def test_without_a_trace_no_phase_is_timed(traced: Trace) -> None:
    assert not phases.is_timed()
    assert phases.phase("plan") is phases.phase("undo") is phases.UNTIMED
    with pytest.raises(ValueError, match="passes"), phases.phase("plan"):
        raise ValueError("passes")
    assert traced.events == []


def test_the_process_began_before_now_and_not_long_ago() -> None:
    def began() -> bool:
        moment = _kernel.monotonic_ns()
        time.sleep(0.05)
        return moment - 2 * 10**9 < record.process_began(_kernel.monotonic_ns()) <= _kernel.monotonic_ns()

    assert in_child(began) == 0


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    trace.write(str(path), b"one")
    assert path.stat().st_mode & 0o777 == 0o600
    trace.write(str(path), b"2")
    assert path.read_bytes() == b"2"


def test_an_unsuitable_trace_file_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "fifo")
    refused = {"link": "symbolic link", "fifo": "No such device", "missing/trace": "No such file", ".": "directory"}
    for name, words in refused.items():
        with pytest.raises(Error, match=words):
            trace.begin(str(tmp_path / name), "create")
    with pytest.raises(Error, match="not a regular file"):
        trace.begin("/dev/null", "create")
    assert (tmp_path / "target").read_text() == "kept"

"""A trace in the Trace Event Format of Chrome, which Perfetto reads. Cold.

Complete events ("X") with times in microseconds; one thread per lane; an arrow ("s", "f") for each barrier.
"""

from __future__ import annotations

import posix
from typing import TYPE_CHECKING, Any

from ocipy.phases import EXEC, START
from ocipy.tracing.record import BEGIN, DONE, END, SIZE

if TYPE_CHECKING:
    from ocipy.plan.model import Step
    from ocipy.tracing.record import Trace

Event = dict[str, Any]
Timed = tuple["Step", int, int, dict[str, Any]]
# The init lane's number if the host never learned of an init process.
NO_PID = 0


def document(trace: Trace, status: int, end: int) -> dict[str, Any]:
    """Return the whole document. end: of the command, in ns."""
    ours = posix.getpid()
    events = _names(trace, ours)
    events.append(_event("start of the process", ours, trace.began, trace.entered, {"category": "phase"}))
    root = {"category": "phase", "status": status}
    events.append(_event(trace.command, ours, trace.entered, end, root))
    for name, begin, until, arguments in trace.events:
        events.append(_event(name, ours, begin, until, {"category": "phase", **arguments}))
    host = [(step, begin, until, _of_step(step, done)) for step, begin, until, done in trace.steps]
    init = init_steps(trace, end)
    for lane, tid, steps in (("host", ours, host), ("init", _init_pid(trace), init)):
        for step, begin, until, arguments in steps:
            events.append(_event(step.action, tid, begin, until, {"category": lane, **arguments}))
    events += _arrows([(ours, host), (_init_pid(trace), init)])
    for event in events:
        event["pid"] = ours
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"clock": "CLOCK_MONOTONIC"}}


def init_steps(trace: Trace, end: int) -> list[Timed]:
    """Return what init has written, clamped to plausible times: (step, begin, end, arguments).

    An unfinished step lasts as long as possible: init waits at the FIFO, or has executed.
    """
    if trace.run is None or trace.times is None:
        return []
    executed = next((until for name, _, until, _ in trace.events if name in (START, EXEC)), 0)
    found: list[Timed] = []
    earliest = trace.entered
    for number, step in enumerate(trace.run.plan.init[: len(trace.times) // SIZE]):
        begin, until, done = (trace.times[number * SIZE + part] for part in (BEGIN, END, DONE))
        if not begin:
            break
        begin = min(max(begin, earliest), end)
        arguments = _of_step(step, bool(done) or not until)
        if not until and not executed:
            arguments["unfinished"] = True
        until = min(max(until or executed or end, begin), end)
        found.append((step, begin, until, arguments))
        earliest = until
    return found


def _names(trace: Trace, ours: int) -> list[Event]:
    """The viewer's names for the process and its lanes, and their order."""
    events = [_named("process_name", ours, f"ocipy {trace.command}")]
    for order, (tid, name) in enumerate(((ours, "host lane"), (_init_pid(trace), "init lane"))):
        events.append(_named("thread_name", tid, name))
        events.append({"ph": "M", "name": "thread_sort_index", "tid": tid, "args": {"sort_index": order}})
    return events


def _named(kind: str, tid: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "tid": tid, "args": {"name": name}}


def _init_pid(trace: Trace) -> int:
    return trace.run.pid if trace.run is not None and trace.run.pid else NO_PID


def _of_step(step: Step, done: bool) -> dict[str, Any]:
    arguments = {"pointer": step.pointer, "what": step.describe()}
    return arguments if done else {**arguments, "failed": True}


def _event(name: str, tid: int, begin: int, end: int, arguments: dict[str, Any]) -> Event:
    rest = {key: value for key, value in arguments.items() if key != "category" and value != ""}
    times = {"ts": begin / 1000, "dur": (end - begin) / 1000}
    return {"ph": "X", "name": name, "cat": arguments["category"], "tid": tid, **times, "args": rest}


def _arrows(lanes: list[tuple[int, list[Timed]]]) -> list[Event]:
    """An arrow from each step that tells something to the step in the other lane that awaits it."""
    events: list[Event] = []
    for (tid, steps), (other_tid, other_steps) in zip(lanes, reversed(lanes), strict=True):
        told = {step.tells: begin for step, begin, _, _ in other_steps if step.tells}
        for step, _, until, _ in steps:
            if step.awaits in told:
                common = {"name": step.awaits, "cat": "barrier", "id": len(events) // 2 + 1}
                events.append({"ph": "s", **common, "tid": other_tid, "ts": told[step.awaits] / 1000})
                events.append({"ph": "f", "bp": "e", **common, "tid": tid, "ts": until / 1000})
    return events

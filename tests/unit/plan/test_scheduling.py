"""process.scheduler, process.ioPriority, linux.personality and linux.memoryPolicy, from config to steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ocipy.plan import scheduling
from ocipy.plan.model import Host, Options, Planner, Step
from ocipy.plan.numbers import parse_list
from ocipy.plan.scheduling import IoPriority, MemoryPolicy, Personality, Scheduler
from tests.unit.documents import refused_at


def plan_of(linux: dict[str, Any] | None = None, **process: Any) -> Sequence[Step]:
    config: Any = {"process": {"cwd": "/", "args": ["sh"], **process}, "linux": linux}
    planner = Planner(config, Host(), Options(container_id="c", bundle="/b"))
    plan = planner.plan
    scheduling.plan_scheduling(planner)
    return plan.init


def pointer_of(linux: dict[str, Any] | None = None, **process: Any) -> str:
    (pointer,) = refused_at({"linux": linux or {}, "process": process})
    return pointer


def test_nothing_asked_nothing_done() -> None:
    assert plan_of() == []
    assert plan_of({}, scheduler=None, ioPriority=None) == []


def test_scheduler() -> None:
    (step,) = plan_of(scheduler={"policy": "SCHED_BATCH", "nice": -20, "flags": ["SCHED_FLAG_RESET_ON_FORK"]})
    assert step == Scheduler(
        "/process/scheduler", policy=3, flags=1, nice=-20, priority=0, runtime=0, deadline=0, period=0
    )
    (step,) = plan_of(scheduler={"policy": "SCHED_FIFO", "priority": 99})
    assert (vars(step)["policy"], vars(step)["priority"]) == (1, 99)
    (step,) = plan_of(scheduler={"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3})
    assert (vars(step)["runtime"], vars(step)["deadline"], vars(step)["period"]) == (1, 2, 3)


@pytest.mark.parametrize(
    ("scheduler", "member"),
    [
        ({"policy": "SCHED_ISO"}, "policy"),
        ({"policy": "SCHED_X"}, "policy"),
        ({"policy": "SCHED_OTHER", "nice": 20}, "nice"),
        ({"policy": "SCHED_OTHER", "nice": -21}, "nice"),
        ({"policy": "SCHED_IDLE", "nice": 1}, "nice"),
        ({"policy": "SCHED_OTHER", "priority": 1}, "priority"),
        ({"policy": "SCHED_RR"}, "priority"),
        ({"policy": "SCHED_RR", "priority": 100}, "priority"),
        ({"policy": "SCHED_OTHER", "runtime": 1}, "runtime"),
        ({"policy": "SCHED_FIFO", "priority": 1, "deadline": 1}, "deadline"),
        ({"policy": "SCHED_OTHER", "period": 1}, "period"),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RECLAIM", "X"]}, "flags/1"),
    ],
)
def test_a_scheduler_that_cannot_be(scheduler: dict[str, Any], member: str) -> None:
    assert pointer_of(scheduler=scheduler) == "/process/scheduler/" + member


def test_io_priority() -> None:
    assert plan_of(ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 7}) == [
        IoPriority("/process/ioPriority", kind=3, level=7)
    ]
    assert pointer_of(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 8}) == "/process/ioPriority/priority"
    assert pointer_of(ioPriority={"class": "IOPRIO_CLASS_NONE"}) == "/process/ioPriority/class"


def test_personality() -> None:
    assert plan_of({"personality": {"domain": "LINUX32"}}) == [Personality("/linux/personality", domain=8)]
    assert pointer_of({"personality": {"domain": "LINUX64"}}) == "/linux/personality/domain"
    assert pointer_of({"personality": {"domain": "LINUX", "flags": ["X"]}}) == "/linux/personality/flags"


def test_memory_policy() -> None:
    policy = {"mode": "MPOL_INTERLEAVE", "nodes": "2-3", "flags": ["MPOL_F_STATIC_NODES"]}
    assert plan_of({"memoryPolicy": policy}) == [MemoryPolicy("/linux/memoryPolicy", mode=3 | 0x8000, nodes=(2, 3))]
    assert vars(plan_of({"memoryPolicy": {"mode": "MPOL_DEFAULT"}})[0]) == {"mode": 0, "nodes": ()}


@pytest.mark.parametrize(
    ("policy", "member"),
    [
        ({"mode": "MPOL_X"}, "mode"),
        ({"mode": "MPOL_DEFAULT", "nodes": "0"}, "nodes"),
        ({"mode": "MPOL_LOCAL", "nodes": "0"}, "nodes"),
        ({"mode": "MPOL_BIND"}, "nodes"),
        ({"mode": "MPOL_BIND", "nodes": "a"}, "nodes"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}, "flags/0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}, "flags"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}, "flags"),
    ],
)
def test_a_memory_policy_that_cannot_be(policy: dict[str, Any], member: str) -> None:
    assert pointer_of({"memoryPolicy": policy}) == "/linux/memoryPolicy/" + member


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", ()), (" ", ()), ("0", (0,)), ("0-3,7", (0, 1, 2, 3, 7)), ("7, 1-2 ,2", (1, 2, 7)), ("5-5", (5,))],
)
def test_lists_of_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_list(text) == numbers


@pytest.mark.parametrize(
    "text", [",", "1,", "a", "1-", "-1", "3-1", "1-2-3", "0x1", "²", "99999999999", "0-8192", "1 2"]
)
def test_invalid_lists(text: str) -> None:
    for linux, process in (
        ({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": text}}, {}),
        ({}, {"execCPUAffinity": {"initial": text}}),
    ):
        assert len(refused_at({"linux": linux, "process": process})) == 1

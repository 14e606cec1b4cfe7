"""The steps that --debug logs: each when its lane takes it, those of init after the next wait of the host."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from ocipy import log
from ocipy.host.context import HostRun
from ocipy.plan.lane import TellHost, TellInit, WaitForHost, WaitForInit
from ocipy.plan.model import Options, Plan
from ocipy.plan.uts import Hostname
from ocipy.state.state import State
from ocipy.tracing.debug import Narrator
from ocipy.tracing.record import Trace


@pytest.fixture
def run() -> HostRun:
    plan = Plan()
    plan.host += [TellInit(barrier="go"), WaitForInit(barrier="ready")]
    plan.init += [WaitForHost(barrier="go"), Hostname("/hostname", name="web"), TellHost(barrier="ready")]
    return HostRun({}, Options(container_id="c", bundle="/b"), plan, State("/nowhere/c", "c", "/b"))  # type: ignore[typeddict-item]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(log, "debug", lines.append)
    return lines


def close(steps: object) -> None:
    """As the end of a lane's loop does."""
    assert isinstance(steps, Generator)
    steps.close()


@pytest.mark.parametrize("traced", [False, True])
def test_the_steps_of_both_lanes(run: HostRun, logged: list[str], traced: bool) -> None:
    """Also if another onlooker times them."""
    narrator = Narrator(Trace("/nowhere/trace", "create") if traced else None)
    host = narrator.host_lane(run)
    next(host)
    assert logged == ["host tell go"]
    init = narrator.init_lane(run.plan.init)
    next(init)
    next(init)
    next(host)
    assert logged[1:] == ["init wait go", "init hostname web /hostname", "host wait ready"]
    next(init)
    close(host)
    assert logged[4:] == ["init tell ready"]
    close(init)


def test_the_step_at_which_init_died_is_logged(run: HostRun, logged: list[str]) -> None:
    narrator = Narrator(None)
    host = narrator.host_lane(run)
    next(host)
    next(narrator.init_lane(run.plan.init))
    close(host)
    assert logged[-1] == "init wait go"


def test_a_number_from_a_hostile_init_is_bounded(run: HostRun, logged: list[str]) -> None:
    narrator = Narrator(None)
    host = narrator.host_lane(run)
    next(host)
    narrator.begun[0] = 2**64 - 1
    next(host)
    assert len(logged) == 2 + len(run.plan.init)
    narrator.begun[0] = 0
    close(host)
    assert len(logged) == 2 + len(run.plan.init)

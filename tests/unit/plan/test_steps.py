"""Kinds of steps: each has a sentence, and one function, in its own lane, that carries it out."""

from __future__ import annotations

import inspect

import pytest

from ocipy.plan.model import HostStep, InitStep, Step
from ocipy.plan.namespaces import CloneStage
from ocipy.plan.process import NoNewPrivileges, Umask
from ocipy.plan.uts import Domainname, Hostname
from tests.unit.kinds import actions, kinds

ROOMS = {HostStep: "ocipy.host", InitStep: "ocipy.init"}
OF_LANES = [(lane, kind) for lane in ROOMS for kind in kinds(lane)]


@pytest.mark.parametrize(("lane", "kind"), OF_LANES)
def test_a_kind_of_step_is_carried_out_in_its_lane_by_the_module_of_its_name(
    lane: type[Step], kind: type[Step]
) -> None:
    action = actions(lane).get(kind)
    assert action is not None, f"no function of {ROOMS[lane]} carries out {kind.__name__}"
    assert action.__module__ == kind.__module__.replace("ocipy.plan", ROOMS[lane])
    assert list(inspect.signature(action).parameters.values())[1].annotation == kind.__name__


@pytest.mark.parametrize("lane", ROOMS)
def test_an_action_is_for_a_kind_of_step_of_its_lane(lane: type[Step]) -> None:
    assert set(actions(lane)) == set(kinds(lane))
    assert len(set(actions(lane).values())) == len(actions(lane))


@pytest.mark.parametrize(("lane", "kind"), OF_LANES)
def test_a_kind_of_step_has_a_sentence(lane: type[Step], kind: type[Step]) -> None:
    assert bool(kind.words) != (kind.describe is not Step.describe), "either words, or describe"


@pytest.mark.parametrize("lane", ROOMS)
def test_names_of_steps_are_unique_in_a_lane(lane: type[Step]) -> None:
    names = [kind.action for kind in kinds(lane)]
    assert len(names) == len(set(names))


def test_the_name_is_that_of_the_class() -> None:
    assert (Hostname.action, NoNewPrivileges.action) == ("hostname", "no_new_privileges")


def test_the_title_has_the_subject() -> None:
    assert Hostname("/hostname", name="web").title == "hostname web"
    assert NoNewPrivileges().title == "no_new_privileges"


def test_steps_are_compared_by_kind_pointer_and_arguments() -> None:
    assert Hostname("/hostname", name="web") == Hostname("/hostname", name="web")
    assert Hostname("/hostname", name="web") != Domainname("/hostname", name="web")
    assert Umask("/process", mask=1) != Umask("/process", mask=2)
    assert Umask("/process", mask=1) != Umask("", mask=1)


def test_a_step_holds_its_arguments_in_their_order() -> None:
    step = CloneStage(
        "/x", user=True, joined=(), drop_groups=False, unshared=(), forks=True, clocks=False, watched=True
    )
    assert list(vars(step)) == ["user", "joined", "drop_groups", "unshared", "forks", "clocks", "watched"]
    assert (step.pointer, step.user, step.clocks) == ("/x", True, False)
    assert repr(Umask("/process/user/umask", mask=18)) == "Umask('/process/user/umask', mask=18)"

"""The golden plans: the whole order of both lanes, for configs with every concern (golden.py has the configs)."""

from __future__ import annotations

import pytest

from ocipy.config.check import check
from ocipy.config.semantic import errors
from ocipy.plan import rare
from ocipy.plan.model import InitStep
from tests.unit import golden
from tests.unit.documents import at
from tests.unit.kinds import assert_complete, kinds

PLANS = golden.plans()
# What options make of `mount` and `bind`, a place of `device`, a flag of `pivot_root`: these have their own tests.
ELSEWHERE = {"copy_symlink", "existing_device", "mount_classic", "move_root", "no_process", "remount", "selinux"}


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_is_the_golden_one(name: str) -> None:
    """A moved, removed or new step is a change that a person must review."""
    expected = (golden.PLANS / f"{name}.txt").read_text()
    assert golden.as_text(PLANS[name]) == expected, (
        f"the order is what protects the host: if it is meant to change, `python -m tests.unit.golden` writes "
        f"tests/unit/plans/{name}.txt again, and its diff is part of the review"
    )


def test_every_golden_plan_is_compared() -> None:
    assert sorted(path.stem for path in golden.PLANS.iterdir()) == sorted(PLANS)


def test_the_config_is_one_that_create_takes_and_has_every_concern() -> None:
    assert check(golden.EVERYTHING) is None
    assert not errors(golden.EVERYTHING)  # type: ignore[arg-type]
    concerns = {name: members for name, members in vars(rare).items() if isinstance(members, tuple)}
    assert "SECCOMP" in concerns
    for concern, members in concerns.items():
        rest = [golden.EVERYTHING, golden.staged()]
        assert any(_has(document, member) for member in members for document in rest), concern


def _has(document: object, member: tuple[str, str]) -> bool:
    try:
        return bool(at(document, "/" + "/".join(filter(None, member))))
    except (KeyError, IndexError):
        return False


def test_every_step_of_init_stands_in_one_of_them() -> None:
    known = {kind.action for kind in kinds(InitStep)}
    planned = {step.action for plan in PLANS.values() for step in plan.init}
    assert known - planned <= ELSEWHERE, "give golden.py a config that needs the step"


@pytest.mark.parametrize("name", PLANS)
def test_the_steps_have_their_arguments(name: str) -> None:
    for step in [*PLANS[name].host, *PLANS[name].init]:
        assert_complete(step)

"""process.rlimits, from config to steps."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.plan import rlimits
from ocipy.plan.model import Host, Options, Plan, Step


def plan_of(*limits: dict[str, Any]) -> Plan:
    plan = Plan()
    config: Any = {"process": {"cwd": "/", "rlimits": list(limits)}}
    rlimits.plan_rlimits(plan, config, Host(), Options(container_id="c", bundle="/b"))
    return plan


def limit(name: str, soft: int = 1, hard: int = 2) -> dict[str, Any]:
    return {"type": name, "soft": soft, "hard": hard}


def test_each_is_a_step_of_the_host() -> None:
    plan = plan_of(limit("RLIMIT_NOFILE", 1024, 2**64 - 1), limit("RLIMIT_CORE", 0, 0))
    assert plan.host == [
        Step(
            "rlimit", "/process/rlimits/0",
            {"name": "RLIMIT_NOFILE", "resource": 7, "soft": 1024, "hard": 2**64 - 1},
        ),
        Step("rlimit", "/process/rlimits/1", {"name": "RLIMIT_CORE", "resource": 4, "soft": 0, "hard": 0}),
    ]  # fmt: skip
    assert plan.init == []


def test_all_sixteen_have_their_number() -> None:
    assert len(rlimits.RESOURCES) == 16
    assert sorted(rlimits.RESOURCES.values()) == list(range(16))
    for name, number in rlimits.RESOURCES.items():
        # Python knows all but RLIMIT_LOCKS
        assert getattr(resource, name, number) == number


@pytest.mark.parametrize("name", ["", "NOFILE", "rlimit_nofile", "RLIMIT_NOTHING"])
def test_a_resource_that_is_none(name: str) -> None:
    with pytest.raises(Error) as caught:
        plan_of(limit("RLIMIT_CPU"), limit(name))
    assert caught.value.pointer == "/process/rlimits/1/type"


def test_duplicates_are_an_error() -> None:
    """config.md: the runtime MUST generate an error; runc takes the last one."""
    with pytest.raises(Error) as caught:
        plan_of(limit("RLIMIT_CPU"), limit("RLIMIT_CORE"), limit("RLIMIT_CPU"))
    assert caught.value.pointer == "/process/rlimits/2/type"
    assert "/process/rlimits/0" in caught.value.what


def test_soft_above_hard() -> None:
    with pytest.raises(Error) as caught:
        plan_of(limit("RLIMIT_CPU", 3, 2))
    assert caught.value.pointer == "/process/rlimits/0/soft"

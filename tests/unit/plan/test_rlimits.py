"""process.rlimits, from config to steps."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from ocipy.plan import rlimits
from ocipy.plan.model import Host, Options, Plan, Planner
from ocipy.plan.rlimits import RaiseRlimit, RaiseRlimitFromHost, Rlimit, RlimitAtExec
from tests.unit.documents import refused_at


def config(*limits: dict[str, Any], seccomp: Any = None) -> Any:
    return {"process": {"cwd": "/", "rlimits": list(limits)}, "linux": {"seccomp": seccomp} if seccomp else {}}


def plan_of(*limits: dict[str, Any], seccomp: Any = None, in_user_namespace: bool = False) -> Plan:
    document = config(*limits, seccomp=seccomp)
    planner = Planner(document, Host(), Options(container_id="c", bundle="/b"))
    plan = planner.plan
    rlimits.plan_rlimits(planner, by_host=in_user_namespace)
    return plan


def limit(name: str, soft: int = 1, hard: int = 2) -> dict[str, Any]:
    return {"type": name, "soft": soft, "hard": hard}


def test_each_is_a_step_of_init() -> None:
    plan = plan_of(limit("RLIMIT_NOFILE", 1024, 2**64 - 1), limit("RLIMIT_CORE", 0, 0))
    assert plan.init == [
        Rlimit("/process/rlimits/0", name="RLIMIT_NOFILE", resource=7, soft=1024, hard=2**64 - 1,
        ),
        Rlimit("/process/rlimits/1", name="RLIMIT_CORE", resource=4, soft=0, hard=0),
    ]  # fmt: skip
    assert plan.host == []


def test_all_sixteen_have_their_number() -> None:
    assert len(rlimits.RESOURCES) == 16
    assert sorted(rlimits.RESOURCES.values()) == list(range(16))
    for name, number in rlimits.RESOURCES.items():
        # Python knows all but RLIMIT_LOCKS
        assert getattr(resource, name, number) == number


@pytest.mark.parametrize("name", ["", "NOFILE", "rlimit_nofile", "RLIMIT_NOTHING"])
def test_an_unknown_resource(name: str) -> None:
    assert refused_at(config(limit("RLIMIT_CPU"), limit(name))) == ["/process/rlimits/1/type"]


def test_duplicates_are_an_error() -> None:
    """config.md: the runtime MUST generate an error; runc takes the last one."""
    document = config(limit("RLIMIT_CPU"), limit("RLIMIT_CORE"), limit("RLIMIT_CPU"))
    assert refused_at(document) == ["/process/rlimits/2/type"]


def test_soft_above_hard() -> None:
    assert refused_at(config(limit("RLIMIT_CPU", 3, 2))) == ["/process/rlimits/0/soft"]


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_NOFILE", "RLIMIT_STACK"])
def test_a_tight_one_is_set_at_the_exec(name: str) -> None:
    """By the process itself; raising the hard limit takes the host's rights."""
    number = rlimits.RESOURCES[name]
    plan = plan_of(limit(name, 3, 2**64 - 1))
    raised = {"name": name, "resource": number, "hard": 2**64 - 1}
    step = RlimitAtExec("/process/rlimits/0", soft=3, **raised)  # type: ignore[arg-type]
    assert plan.init == [RaiseRlimit("/process/rlimits/0", **raised), step]  # type: ignore[arg-type]
    inside = plan_of(limit(name, 3, 2**64 - 1), in_user_namespace=True)
    assert inside.host == [RaiseRlimitFromHost("/process/rlimits/0", **raised)]  # type: ignore[arg-type]
    assert inside.init == [step]
    assert [step.action for step in plan_of(limit(name, 1 << 30, 1 << 30)).init] == ["rlimit"]


def test_the_host_sets_those_of_a_user_namespace() -> None:
    """Raising a hard limit takes CAP_SYS_RESOURCE over the initial user namespace."""
    plan = plan_of(limit("RLIMIT_CORE", 1, 2), in_user_namespace=True)
    assert [step.action for step in plan.host] == ["rlimit_from_host"]
    assert plan.init == []


@pytest.mark.parametrize(
    ("default", "rules", "late"),
    [
        ("SCMP_ACT_ALLOW", [], True),
        ("SCMP_ACT_LOG", [], True),
        ("SCMP_ACT_ERRNO", [], False),
        ("SCMP_ACT_ERRNO", [{"names": ["read", "prlimit64"], "action": "SCMP_ACT_ALLOW"}], True),
        ("SCMP_ACT_ERRNO", [{"names": ["prlimit64"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]}], False),
        ("SCMP_ACT_ALLOW", [{"names": ["prlimit64"], "action": "SCMP_ACT_NOTIFY"}], False),
        ("SCMP_ACT_ALLOW", [{"names": ["prlimit64"], "action": "SCMP_ACT_KILL"}], False),
        ("SCMP_ACT_ALLOW", [{"names": ["setrlimit"], "action": "SCMP_ACT_KILL"}], True),
    ],
)
def test_by_the_process_itself_only_where_its_filter_permits_that(default: str, rules: list[Any], late: bool) -> None:
    plan = plan_of(limit("RLIMIT_DATA"), seccomp={"defaultAction": default, "syscalls": rules})
    assert [step.action for step in plan.init] == (["raise_rlimit", "rlimit_at_exec"] if late else ["rlimit"])

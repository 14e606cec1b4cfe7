"""linux.seccomp: from the profile to steps, and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.linux.constants import (
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
)
from ocipy.plan import seccomp
from ocipy.plan.model import Host, Options, Plan, Planner
from ocipy.plan.seccomp import SeccompFilter, SeccompListener, SeccompLoad, SeccompReceive
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="c", bundle="/b")
ALLOW_READ = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
NOTIFY_MOUNT = {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}


def planned(profile: Any, no_new_privileges: bool = False) -> Plan:
    config: Any = {"process": {"noNewPrivileges": no_new_privileges}, "linux": {"seccomp": profile}}
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    for part in (
        seccomp.plan_seccomp_compile,
        seccomp.plan_seccomp_early,
        seccomp.plan_seccomp_listener,
        seccomp.plan_seccomp_late,
    ):
        part(planner)
    return plan


def profile(*rules: Any, default: str = "SCMP_ACT_ERRNO", **rest: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **rest}


def loaded(plan: Plan) -> dict[str, Any]:
    steps = [step for step in plan.init if step.action == "seccomp_load"]
    assert len(steps) == 1
    assert steps[0].pointer == "/linux/seccomp"
    return vars(steps[0])


def test_an_empty_default_action_is_no_profile_and_a_warning() -> None:
    plan = planned({"defaultAction": "", "architectures": None})
    assert (plan.host, plan.init) == ([], [])
    assert plan.warnings == [("/linux/seccomp/defaultAction", "is empty, so there is no filter")]


def test_no_profile_no_step() -> None:
    absent: Any
    for absent in ({}, {"linux": None}, {"linux": {}}, {"linux": {"seccomp": None}}):
        planner = Planner(absent, Host(), OPTIONS)
        seccomp.plan_seccomp_compile(planner)
        seccomp.plan_seccomp_early(planner)
        seccomp.plan_seccomp_late(planner)
        assert planner.plan.host == planner.plan.init == []


def test_steps() -> None:
    asked: Any = profile(ALLOW_READ, architectures=["SCMP_ARCH_X86"])
    plan = planned(asked)
    assert plan.host == [SeccompFilter("/linux/seccomp", profile=asked)]
    assert plan.init == [
        SeccompReceive("/linux/seccomp"),
        SeccompLoad("/linux/seccomp", flags=SECCOMP_FILTER_FLAG_SPEC_ALLOW, optional=True),
    ]


def test_where_it_is_loaded() -> None:
    def steps(part: Any, no_new_privileges: bool, *rules: Any) -> int:
        config: Any = {
            "process": {"noNewPrivileges": no_new_privileges},
            "linux": {"seccomp": profile(*rules, listenerPath="/agent")},
        }
        planner = Planner(config, Host(), OPTIONS)
        plan = planner.plan
        part(planner)
        return len(plan.init)

    early, listener, late = seccomp.plan_seccomp_early, seccomp.plan_seccomp_listener, seccomp.plan_seccomp_late
    assert [steps(part, False, ALLOW_READ) for part in (early, listener, late)] == [1, 0, 0]
    assert [steps(part, True, ALLOW_READ) for part in (early, listener, late)] == [0, 0, 1]
    assert [steps(part, False, NOTIFY_MOUNT) for part in (early, listener, late)] == [1, 0, 0]
    assert [steps(part, True, NOTIFY_MOUNT) for part in (early, listener, late)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("flags", "expected", "optional"),
    [
        (None, SECCOMP_FILTER_FLAG_SPEC_ALLOW, True),
        ([], 0, False),
        (["SECCOMP_FILTER_FLAG_TSYNC"], 0, False),
        (["SECCOMP_FILTER_FLAG_LOG"], SECCOMP_FILTER_FLAG_LOG, False),
        (
            ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
            SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            False,
        ),
    ],
)
def test_null_flags_are_not_no_flags(flags: list[str] | None, expected: int, optional: bool) -> None:
    assert loaded(planned(profile(ALLOW_READ, flags=flags))) == {"flags": expected, "optional": optional}


def test_listener() -> None:
    plan = planned(
        profile(
            NOTIFY_MOUNT,
            listenerPath="/run/agent",
            listenerMetadata="m",
            flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        )
    )
    assert plan.host[-1] == SeccompListener("/linux/seccomp/listenerPath", path="/run/agent", metadata="m")
    assert loaded(plan)["flags"] == SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV


def test_a_listener_path_without_notify_is_not_used() -> None:
    assert [step.action for step in planned(profile(ALLOW_READ, listenerPath="/agent")).host] == ["seccomp_filter"]


@pytest.mark.parametrize(
    ("refused", "pointer"),
    [
        (profile(default="SCMP_ACT_NO"), "/defaultAction"),
        (profile(default="SCMP_ACT_NOTIFY", listenerPath="/a"), "/defaultAction"),
        (profile(default="SCMP_ACT_ALLOW", defaultErrnoRet=1), "/defaultErrnoRet"),
        (profile(default="SCMP_ACT_KILL", defaultErrnoRet=0), "/defaultErrnoRet"),
        (profile(defaultErrnoRet=4096), "/defaultErrnoRet"),
        (profile(ALLOW_READ, architectures=["SCMP_ARCH_X86", "SCMP_ARCH_PDP11"]), "/architectures/1"),
        (profile(ALLOW_READ, flags=["SECCOMP_FILTER_FLAG_NEW_LISTENER"]), "/flags/0"),
        (profile(ALLOW_READ, flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), "/flags/0"),
        (profile(ALLOW_READ, {"names": ["a"], "action": "ALLOW"}), "/syscalls/1/action"),
        (profile({"names": [], "action": "SCMP_ACT_ALLOW"}), "/syscalls/0/names"),
        (profile({**ALLOW_READ, "errnoRet": 1}), "/syscalls/0/errnoRet"),
        (profile({"names": ["a"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536}), "/syscalls/0/errnoRet"),
        (profile({**ALLOW_READ, "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}), "/syscalls/0/args/0/index"),
        (profile({**ALLOW_READ, "args": [{"index": 5, "value": 0, "op": "EQ"}]}), "/syscalls/0/args/0/op"),
        (profile(NOTIFY_MOUNT), "/listenerPath"),
        (profile({"names": ["write"], "action": "SCMP_ACT_NOTIFY"}, listenerPath="/a"), "/syscalls/0/names"),
        (profile(ALLOW_READ, listenerMetadata="m"), "/listenerMetadata"),
    ],
)
def test_refused(refused: Any, pointer: str) -> None:
    assert refused_at({"linux": {"seccomp": refused}}) == ["/linux/seccomp" + pointer]


def test_errno_only_for_actions_that_take_one() -> None:
    planned(profile({"names": ["a"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535}, defaultErrnoRet=4095))
    planned(profile({**ALLOW_READ, "errnoRet": None}, default="SCMP_ACT_KILL", defaultErrnoRet=None))

"""process: args, env, cwd, umask, oomScoreAdj and what every process gets, from config to steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocipy.config.template import template
from ocipy.plan import process
from ocipy.plan.build import build
from ocipy.plan.model import Host, Options, Plan, Planner, Step
from ocipy.plan.process import CloseDescriptors, Environment, Execute, NoProcess, Umask, WorkingDirectory
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="web", bundle="/b", listen_fds=2)


def config(**members: Any) -> Any:
    return {"process": {"cwd": "/", "args": ["sh"], **members}}


def plan_of(
    part: Callable[[Planner], None], document: Any, host: Host | None = None, options: Options = OPTIONS
) -> Plan:
    planner = Planner(document, host or Host(), options)
    part(planner)
    return planner.plan


def only(plan: Plan, action: str) -> Step:
    (step,) = (step for step in [*plan.host, *plan.init] if step.action == action)
    return step


def test_oom_score_is_left_alone_unless_given() -> None:
    assert plan_of(process.plan_oom_score, config()).host == []
    step = only(plan_of(process.plan_oom_score, config(oomScoreAdj=0)), "oom_score_adj")
    assert step.pointer == "/process/oomScoreAdj"
    assert vars(step) == {"score": 0, "rootless": False}


@pytest.mark.parametrize("score", [-1001, 1001])
def test_oom_score_out_of_range(score: int) -> None:
    assert refused_at(config(oomScoreAdj=score)) == ["/process/oomScoreAdj"]


def test_signals_and_session_come_first_and_then_the_keyring() -> None:
    plan = plan_of(process.plan_session, config())
    assert [step.action for step in plan.init] == ["reset_signals", "session", "keyring"]
    assert vars(plan.init[2]) == {"name": "_ses.web", "in_user_namespace": False, "label": ""}
    without = Options(container_id="web", bundle="/b", no_new_keyring=True)
    assert "keyring" not in [step.action for step in plan_of(process.plan_session, config(), None, without).init]


def test_the_keyring_gets_the_label_of_the_process_under_selinux() -> None:
    plan = plan_of(process.plan_session, config(selinuxLabel="a:b:c:s0"), Host(selinux=True))
    assert vars(only(plan, "keyring"))["label"] == "a:b:c:s0"


@pytest.mark.parametrize("cwd", ["", "tmp", "./tmp", "a\0b", "/a\0b"])
def test_an_invalid_working_directory(cwd: str) -> None:
    assert refused_at(config(cwd=cwd)) == ["/process/cwd"]


def test_environment_keeps_the_last_of_each_name() -> None:
    assert process.environment_of({"cwd": "/", "env": ["A=1", "B=x=y", "A=2", "C="]}) == ("A=2", "B=x=y", "C=")


@pytest.mark.parametrize("entry", ["", "A", "=1", "A=\0"])
def test_an_invalid_environment_entry(entry: str) -> None:
    assert refused_at(config(env=["OK=1", entry])) == ["/process/env/1"]


def test_what_is_done_before_the_ids_change() -> None:
    document = config(cwd="/srv", env=["A=1"], user={"uid": 5, "gid": 6, "umask": 0o77})
    plan = plan_of(process.plan_before_ids, document)
    assert plan.init == [
        Environment("/process/env", variables=("A=1",), uid=5, listen_fds=2),
        CloseDescriptors("", for_start=True, for_hooks=False),
        WorkingDirectory("/process/cwd", path="/srv"),
        Umask("/process/user/umask", mask=0o77),
    ]


def test_umask_default() -> None:
    assert vars(only(plan_of(process.plan_before_ids, config()), "umask")) == {"mask": 0o022}
    assert vars(only(plan_of(process.plan_before_ids, config(user={"umask": 0})), "umask")) == {"mask": 0}


def test_what_is_done_as_the_final_user() -> None:
    actions = [step.action for step in plan_of(process.plan_after_ids, config()).init]
    assert actions == ["working_directory_again", "capabilities", "command"]


@pytest.mark.parametrize("args", [[], None])
def test_no_arguments(args: Any) -> None:
    assert refused_at(config(args=args)) == ["/process/args"]


def test_arguments_with_nul() -> None:
    assert refused_at(config(args=["sh", "a\0b"])) == ["/process/args/1"]


def test_arguments_are_passed_on() -> None:
    assert plan_of(process.plan_execute, config(args=["sh", "", "ü"])).init == [
        Execute("/process/args", arguments=("sh", "", "ü"))
    ]


def test_no_new_privileges_only_if_true() -> None:
    assert plan_of(process.plan_no_new_privileges, config()).init == []
    assert plan_of(process.plan_no_new_privileges, config(noNewPrivileges=False)).init == []
    step = only(plan_of(process.plan_no_new_privileges, config(noNewPrivileges=True)), "no_new_privileges")
    assert step.pointer == "/process/noNewPrivileges"


def test_cpu_affinity_is_checked_although_only_exec_uses_it() -> None:
    plan_of(process.plan_after_ids, config(execCPUAffinity={"initial": "0-3,7", "final": ""}))
    document = config(execCPUAffinity={"initial": "0", "final": "3-1"})
    assert refused_at(document) == ["/process/execCPUAffinity/final"]


def test_without_a_process_create_succeeds_and_start_fails() -> None:
    document: Any = {**template(), "process": None}
    plan = build(document, Host(), Options(container_id="c", bundle="/b"))
    assert plan.init[-1] == NoProcess("/process")
    assert "execute" not in {step.action for step in plan.init}

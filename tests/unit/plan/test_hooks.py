"""hooks: from config to steps, and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.config.semantic import HOOKS
from ocipy.plan import hooks, process
from ocipy.plan.model import Host, Options, Plan, Step
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="c", bundle="/b")
FULL = {"path": "/bin/a", "args": ["a", "b"], "env": ["X=1", "Y="], "timeout": 5}
PARTS = {
    "prestart": hooks.plan_hooks_runtime,
    "createRuntime": hooks.plan_hooks_runtime,
    "createContainer": hooks.plan_hooks_create_container,
    "startContainer": hooks.plan_hooks_start_container,
    "poststart": hooks.plan_hooks_later,
    "poststop": hooks.plan_hooks_later,
}


def planned(kind: str, *entries: Any) -> Plan:
    config: Any = {"hooks": {kind: list(entries)}}
    plan = Plan()
    PARTS[kind](plan, config, Host(), OPTIONS)
    return plan


def test_every_kind_has_its_part() -> None:
    assert set(PARTS) == set(HOOKS)


@pytest.mark.parametrize("kind", HOOKS)
def test_a_step_for_each_hook(kind: str) -> None:
    plan = planned(kind, FULL, {"path": "/bin/c"})
    action = "keep_hook" if kind in ("poststart", "poststop") else "hook"
    inside = kind in ("createContainer", "startContainer")
    more = {"filter": None} if inside else {}
    expected = [
        Step(action, f"/hooks/{kind}/0", {
            "kind": kind, "index": 0, "path": "/bin/a", "args": ("a", "b"), "env": ("X=1", "Y="), "timeout": 5,
            **more,
        }),
        Step(action, f"/hooks/{kind}/1", {
            "kind": kind, "index": 1, "path": "/bin/c", "args": None, "env": None, "timeout": None, **more,
        }),
    ]  # fmt: skip
    assert (plan.init if inside else plan.host) == expected
    assert (plan.host if inside else plan.init) == []


def test_prestart_comes_before_create_runtime() -> None:
    config: Any = {"hooks": {"createRuntime": [{"path": "/b"}], "prestart": [{"path": "/a"}]}}
    plan = Plan()
    hooks.plan_hooks_runtime(plan, config, Host(), OPTIONS)
    assert [step.args["path"] for step in plan.host] == ["/a", "/b"]


@pytest.mark.parametrize("config", [{}, {"hooks": None}, {"hooks": {}}, {"hooks": {"prestart": None}}])
def test_without_hooks_no_step(config: Any) -> None:
    plan = Plan()
    for part in PARTS.values():
        part(plan, config, Host(), OPTIONS)
    assert plan.host == plan.init == []


def test_an_empty_environment_is_one() -> None:
    assert planned("prestart", {"path": "/a", "env": []}).host[0].args["env"] == ()


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize(
    ("hook", "pointer"),
    [
        ({"path": "bin/a"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "/a\0b"}, "path"),
        ({"path": "/a", "args": ["a", "b\0"]}, "args/1"),
        ({"path": "/a", "args": ["", "b"]}, "args/0"),
        ({"path": "/a", "env": ["A=1", "B"]}, "env/1"),
        ({"path": "/a", "env": ["=1"]}, "env/0"),
        ({"path": "/a", "env": ["A=\0"]}, "env/0"),
        ({"path": "/a", "timeout": 0}, "timeout"),
        ({"path": "/a", "timeout": -1}, "timeout"),
    ],
)
def test_refused(kind: str, hook: Any, pointer: str) -> None:
    assert refused_at({"hooks": {kind: [FULL, hook]}}) == [f"/hooks/{kind}/1/{pointer}"]


def test_files_for_the_output_of_hooks() -> None:
    """crun's annotations; kept open in init only for its own hooks of start."""
    config: Any = {"annotations": {"run.oci.hooks.stdout": "/log/out", "run.oci.hooks.stderr": "err"}}
    plan = Plan()
    hooks.plan_hooks_output(plan, config, Host(), OPTIONS)
    assert plan.host == [
        Step("hook_output", "/annotations/run.oci.hooks.stdout", {"name": "stdout", "path": "/log/out"}),
        Step("hook_output", "/annotations/run.oci.hooks.stderr", {"name": "stderr", "path": "/b/err"}),
    ]
    kept = []
    for kind in ("createContainer", "startContainer"):
        plan = Plan()
        document: Any = {**config, "hooks": {kind: [{"path": "/a"}]}}
        process.plan_before_ids(plan, document, Host(), OPTIONS)
        kept += [step.args["keep"] for step in plan.init if step.action == "close_descriptors"]
    assert kept == [("fifo", "report"), ("fifo", "report", "hook/stdout", "hook/stderr")]


@pytest.mark.parametrize("annotations", [{}, {"run.oci.hooks.stdout": ""}, {"run.oci.hooks.stdin": "/x"}])
def test_no_files_for_the_output_of_hooks(annotations: dict[str, str]) -> None:
    plan = Plan()
    config: Any = {"annotations": annotations, "hooks": {"prestart": [{"path": "/a"}]}}
    hooks.plan_hooks_output(plan, config, Host(), OPTIONS)
    assert plan.host == []


@pytest.mark.parametrize(
    ("no_new_privileges", "seccomp", "expected"),
    [
        (True, {"flags": ["SECCOMP_FILTER_FLAG_LOG"]}, (2, False)),
        (True, {}, (4, True)),
        # It is loaded before, and holds for what follows.
        (False, {}, None),
        (True, {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}], "listenerPath": "/l"}, None),
    ],
)
def test_the_filter_that_is_loaded_last(no_new_privileges: bool, seccomp: Any, expected: Any) -> None:
    config: Any = {
        "process": {"noNewPrivileges": no_new_privileges},
        "hooks": {"startContainer": [{"path": "/a"}], "createContainer": [{"path": "/b"}]},
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", **seccomp}},
    }
    plan = Plan()
    for part in (hooks.plan_hooks_create_container, hooks.plan_hooks_start_container):
        part(plan, config, Host(), OPTIONS)
    assert [step.args["filter"] for step in plan.init] == [None, expected]

"""hooks: from config to steps, and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.config.semantic import HOOK_KINDS
from ocipy.plan import hooks, process
from ocipy.plan.hooks import ContainerHook, HookOutput, KeepHook, RuntimeHook
from ocipy.plan.model import Host, Options, Plan, Planner
from ocipy.plan.process import CloseDescriptors
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
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    PARTS[kind](planner)
    return plan


def test_every_kind_has_its_part() -> None:
    assert set(PARTS) == set(HOOK_KINDS)


@pytest.mark.parametrize("kind", HOOK_KINDS)
def test_a_step_for_each_hook(kind: str) -> None:
    plan = planned(kind, FULL, {"path": "/bin/c"})
    step: Any = KeepHook if kind in ("poststart", "poststop") else RuntimeHook
    inside = kind in ("createContainer", "startContainer")
    more: Any = {"filter": None} if inside else {}
    if inside:
        step = ContainerHook
    first = {"path": "/bin/a", "args": ("a", "b"), "env": ("X=1", "Y="), "timeout": 5, **more}
    second = {"path": "/bin/c", "args": None, "env": None, "timeout": None, **more}
    expected = [
        step(f"/hooks/{kind}/0", kind=kind, index=0, **first),
        step(f"/hooks/{kind}/1", kind=kind, index=1, **second),
    ]
    assert (plan.init if inside else plan.host) == expected
    assert (plan.host if inside else plan.init) == []


def test_prestart_comes_before_create_runtime() -> None:
    config: Any = {"hooks": {"createRuntime": [{"path": "/b"}], "prestart": [{"path": "/a"}]}}
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    hooks.plan_hooks_runtime(planner)
    assert [vars(step)["path"] for step in plan.host] == ["/a", "/b"]


@pytest.mark.parametrize("config", [{}, {"hooks": None}, {"hooks": {}}, {"hooks": {"prestart": None}}])
def test_without_hooks_no_step(config: Any) -> None:
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    for part in PARTS.values():
        part(planner)
    assert plan.host == plan.init == []


def test_an_empty_environment_is_one() -> None:
    assert vars(planned("prestart", {"path": "/a", "env": []}).host[0])["env"] == ()


@pytest.mark.parametrize("kind", HOOK_KINDS)
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
    planner = Planner(config, Host(), OPTIONS)
    hooks.plan_hooks_output(planner)
    assert planner.plan.host == [
        HookOutput("/annotations/run.oci.hooks.stdout", name="stdout", path="/log/out"),
        HookOutput("/annotations/run.oci.hooks.stderr", name="stderr", path="/b/err"),
    ]
    kept = []
    for kind in ("createContainer", "startContainer"):
        document: Any = {**config, "hooks": {kind: [{"path": "/a"}]}}
        planner = Planner(document, Host(), OPTIONS)
        process.plan_before_ids(planner)
        kept += [step.for_hooks for step in planner.plan.init if isinstance(step, CloseDescriptors)]
    assert kept == [False, True]


@pytest.mark.parametrize("annotations", [{}, {"run.oci.hooks.stdout": ""}, {"run.oci.hooks.stdin": "/x"}])
def test_no_files_for_the_output_of_hooks(annotations: dict[str, str]) -> None:
    config: Any = {"annotations": annotations, "hooks": {"prestart": [{"path": "/a"}]}}
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    hooks.plan_hooks_output(planner)
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
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    for part in (hooks.plan_hooks_create_container, hooks.plan_hooks_start_container):
        part(planner)
    assert [vars(step)["filter"] for step in plan.init] == [None, expected]

"""process.capabilities: the granted ones among the requested, and the warning about the rest."""

from __future__ import annotations

from typing import Any

from ocipy.linux import capabilities as numbers
from ocipy.plan import capabilities
from ocipy.plan.model import Host, Options, Planner

OPTIONS = Options(container_id="c", bundle="/b")
ALL = (1 << 41) - 1
KILL, CHOWN, SETUID = 1 << 5, 1 << 0, 1 << 7


def granted(available: int = ALL, last: int = 40, **wanted: Any) -> capabilities.Sets:
    return capabilities.granted(wanted, available, last)  # type: ignore[arg-type]


def test_names_and_numbers_are_those_of_the_kernel() -> None:
    assert len(numbers.NAMES) == 41
    assert numbers.NUMBERS["CAP_SYS_ADMIN"] == 21
    assert numbers.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    assert numbers.names(0b100001 | 1 << 50) == ["CAP_CHOWN", "CAP_KILL", "CAP_50"]
    assert numbers.mask(["CAP_KILL", "kill", "CAP_kill", ""]) == (KILL, ["kill", "CAP_kill", ""])


def test_absent_sets_are_empty() -> None:
    for sets in (granted(), capabilities.granted(None, ALL, 40)):
        assert (sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient) == (0, 0, 0, 0, 0)
        assert sets.refused == ""


def test_each_set_is_its_own() -> None:
    sets = granted(
        bounding=["CAP_KILL", "CAP_CHOWN", "CAP_SETUID"],
        permitted=["CAP_KILL", "CAP_CHOWN"],
        effective=["CAP_KILL"],
        inheritable=["CAP_CHOWN", "CAP_SETUID"],
        ambient=["CAP_CHOWN"],
    )
    assert sets.bounding == KILL | CHOWN | SETUID
    assert sets.permitted == KILL | CHOWN
    assert sets.effective == KILL
    assert sets.inheritable == CHOWN | SETUID
    assert sets.ambient == CHOWN
    assert sets.refused == ""


def test_nothing_is_inheritable_that_was_not_asked_for() -> None:
    """CVE-2022-24769, CVE-2022-29162, CVE-2022-27650: the inheritable set was filled from the bounding set."""
    names = ["CAP_KILL"]
    assert granted(bounding=names, permitted=names, effective=names).inheritable == 0


def test_nothing_is_ambient_that_was_not_asked_for() -> None:
    """CVE-2016-8867: ambient capabilities for a user that is not root."""
    names = ["CAP_KILL"]
    assert granted(bounding=names, permitted=names, effective=names, inheritable=names).ambient == 0


def test_each_capability_that_cannot_be_granted_is_reported_once() -> None:
    names = ["CAP_KILL", "CAP_BPF", "CAP_NONSENSE", "CAP_SETUID"]
    sets = granted(available=KILL | CHOWN, last=38, bounding=names, permitted=names, effective=names)
    assert sets.bounding == sets.permitted == sets.effective == KILL
    assert sets.refused == (
        "CAP_NONSENSE (unknown); CAP_BPF (not known to this kernel); CAP_SETUID (not among the runtime's own)"
    )


def test_sets_that_the_kernel_would_refuse_are_cut_down() -> None:
    sets = granted(bounding=["CAP_KILL"], effective=["CAP_KILL"])
    assert sets.effective == 0
    assert "CAP_KILL (effective but not permitted)" in sets.refused
    sets = granted(inheritable=["CAP_KILL"])
    assert sets.inheritable == 0
    assert "CAP_KILL (inheritable but not in the bounding set)" in sets.refused
    sets = granted(bounding=["CAP_KILL"], permitted=["CAP_KILL"], ambient=["CAP_KILL"])
    assert sets.ambient == 0
    assert "CAP_KILL (ambient but not both permitted and inheritable)" in sets.refused


def test_plan() -> None:
    config: Any = {
        "process": {
            "cwd": "/",
            "args": ["sh"],
            "capabilities": {"bounding": ["CAP_KILL", "CAP_X"], "permitted": ["CAP_KILL"]},
        }
    }
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    capabilities.plan_bounding(planner)
    capabilities.plan_sets(planner)
    assert [(step.action, step.pointer) for step in plan.init] == [
        ("bounding", "/process/capabilities/bounding"),
        ("keep_capabilities", "/process/capabilities"),
        ("capabilities", "/process/capabilities"),
    ]
    assert vars(plan.init[0]) == {"kept": KILL, "last": 40}
    assert plan.warnings == [("/process/capabilities", "capabilities that cannot be granted: CAP_X (unknown)")]


def test_in_a_user_namespace_the_runtimes_own_set_is_no_limit() -> None:
    host = Host(capabilities=0)
    config: Any = {"process": {"cwd": "/", "capabilities": {"bounding": ["CAP_KILL"]}}}
    assert capabilities.sets_of(Planner(config, host, OPTIONS)).bounding == 0
    config["linux"] = {"namespaces": [{"type": "user"}]}
    assert capabilities.sets_of(Planner(config, host, OPTIONS)).bounding == KILL

"""process.apparmorProfile and process.selinuxLabel: applied if the host supports them, otherwise refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.plan import lsm
from ocipy.plan.lsm import Apparmor, Selinux
from ocipy.plan.model import Host, Options, Planner, Step


def plan_of(host: Host, **process: Any) -> Sequence[Step]:
    config: Any = {"process": {"cwd": "/", "args": ["sh"], **process}}
    planner = Planner(config, host, Options(container_id="c", bundle="/b"))
    plan = planner.plan
    lsm.plan_labels(planner)
    return plan.init


def test_applied() -> None:
    assert plan_of(Host(apparmor=True), apparmorProfile="p") == [Apparmor("/process/apparmorProfile", profile="p")]
    assert plan_of(Host(selinux=True), selinuxLabel="u:r:t:s0") == [Selinux("/process/selinuxLabel", label="u:r:t:s0")]
    # even then: a runtime that is confined itself would pass its profile on
    assert len(plan_of(Host(apparmor=True), apparmorProfile="unconfined")) == 1


@pytest.mark.parametrize("member", ["apparmorProfile", "selinuxLabel"])
def test_refused_without_the_module(member: str) -> None:
    with pytest.raises(Error) as caught:
        plan_of(Host(), **{member: "something"})
    assert caught.value.pointer == "/process/" + member


@pytest.mark.parametrize("member", ["apparmorProfile", "selinuxLabel"])
@pytest.mark.parametrize("value", ["", None])
def test_empty_is_absent(member: str, value: Any) -> None:
    assert plan_of(Host(), **{member: value}) == []


def test_unconfined_is_what_everything_is_without_apparmor() -> None:
    assert plan_of(Host(), apparmorProfile="unconfined") == []

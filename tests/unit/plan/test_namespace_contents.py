"""linux.timeOffsets and linux.netDevices: from config to steps."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.plan import namespace_contents
from ocipy.plan.model import Host, Options, Planner
from ocipy.plan.namespace_contents import NetDevices, TimeOffsets

OPTIONS = Options(container_id="c", bundle="/b")


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (None, None),
        ({}, None),
        ({"monotonic": None}, None),
        ({"monotonic": {"secs": 5}}, (("monotonic", 5, 0),)),
        (
            {"boottime": {"secs": -3, "nanosecs": 7}, "monotonic": {"nanosecs": 1}},
            (("monotonic", 0, 1), ("boottime", -3, 7)),
        ),
    ],
)
def test_time_offsets(offsets: Any, expected: Any) -> None:
    config: Any = {"linux": {"timeOffsets": offsets}}
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    namespace_contents.plan_time_offsets(planner)
    steps = [] if expected is None else [TimeOffsets("/linux/timeOffsets", offsets=expected)]
    assert plan.host == steps


def test_net_devices() -> None:
    config: Any = {"linux": {"netDevices": {"eth1": {"name": "a"}, "eth2": {}, "eth3": None, "eth4": {"name": "x%d"}}}}
    planner = Planner(config, Host(), OPTIONS)
    plan = planner.plan
    namespace_contents.plan_net_devices(planner)
    moved = (("eth1", "a"), ("eth2", "eth2"), ("eth3", "eth3"), ("eth4", "x%d"))
    assert plan.host == [NetDevices("/linux/netDevices", devices=moved)]


def test_without_them_no_step() -> None:
    config: Any
    for config in ({}, {"linux": {}}, {"linux": {"netDevices": {}, "timeOffsets": None}}):
        planner = Planner(config, Host(), OPTIONS)
        namespace_contents.plan_net_devices(planner)
        namespace_contents.plan_time_offsets(planner)
        assert planner.plan.host == []

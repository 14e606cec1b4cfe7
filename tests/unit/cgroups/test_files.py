"""linux.resources as writes to control files: the table of docs/cgroups.md, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cgroups.wanted import writes

# Values that engines send without meaning anything: Docker 20.10's zeros, podman's empty objects, nulls.
NOTHING = [
    {},
    {"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}, "network": {}, "hugepageLimits": [], "rdma": {}},
    {"memory": None, "cpu": None, "pids": None, "blockIO": None, "unified": None},
    {"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "", "realtimeRuntime": 0, "realtimePeriod": 0}},
    {"memory": {"disableOOMKiller": False, "limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0}},
    {"memory": {"useHierarchy": False, "checkBeforeUpdate": False, "swappiness": 2**64 - 1}},
    {"blockIO": {"weight": 0, "leafWeight": 0, "weightDevice": [], "throttleReadBpsDevice": None}},
    {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 0, "leafWeight": 0}]}},
    {"network": {"classID": 0, "priorities": []}},
    {"pids": {"limit": None}},
    {"unified": {}},
]


@pytest.mark.parametrize("mode", ["v1", "hybrid", "v2"])
@pytest.mark.parametrize("resources", NOTHING)
def test_not_set_is_left_alone(resources: Any, mode: str) -> None:
    assert writes(resources, mode) == []


@pytest.mark.parametrize("resources", NOTHING)
def test_not_set_needs_no_controller(resources: Any) -> None:
    for mode in ("v1", "v2"):
        assert writes(resources, mode, ()) == []

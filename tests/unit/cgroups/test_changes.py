"""A change of limits: the resulting limits, the writes for it, and how they are undone."""

from __future__ import annotations

import errno
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ocipy.cgroups import applying, files
from ocipy.cgroups.cgroup import Cgroup
from ocipy.cgroups.changes import affected, merged
from ocipy.errors import Error

if TYPE_CHECKING:
    from ocipy.cgroups.writes import Action, Check, Write

OLD: dict[str, Any] = {
    "devices": [{"allow": False, "access": "rwm"}],
    "memory": {"limit": 100, "swap": 150, "checkBeforeUpdate": True},
    "cpu": {"quota": 5000, "period": 100000, "cpus": "0-1"},
    "pids": {"limit": 10},
    "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 16, "rate": 2}]},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
    "unified": {"memory.high": "1"},
    "rdma": {"mlx5_1": {"hcaHandles": 1}},
}


def change(new: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the resulting differences, the writes). Neither the old document nor the change is modified."""
    old, copy = deepcopy(OLD), deepcopy(new)
    after: Any = merged(old, new)  # type: ignore[arg-type]
    written: Any = affected(after, new)  # type: ignore[arg-type]
    assert (old, new) == (OLD, copy)
    return {name: part for name, part in after.items() if part != OLD.get(name)}, written


@pytest.mark.parametrize(
    "new",
    [
        {},
        {"memory": None, "cpu": {}, "pids": None},
        {"memory": {"limit": 0, "swap": None, "disableOOMKiller": False}, "cpu": {"shares": 0, "cpus": ""}},
        {"blockIO": {"weight": 0, "throttleReadBpsDevice": []}, "hugepageLimits": [], "unified": {}},
        {"devices": [{"allow": True}], "unknown": 1},
    ],
)
def test_nothing_is_set(new: dict[str, Any]) -> None:
    assert change(new) == ({}, {})


def test_unnamed_limits_stay_and_are_not_written() -> None:
    assert change({"pids": {"limit": 5}}) == ({"pids": {"limit": 5}}, {"pids": {"limit": 5}})
    after, written = change({"cpu": {"cpus": "0"}})
    assert after == {"cpu": {"quota": 5000, "period": 100000, "cpus": "0"}}
    assert written == {"cpu": {"cpus": "0"}}


def test_zero_is_a_value_for_some() -> None:
    assert change({"pids": {"limit": 0}, "cpu": {"idle": 0, "burst": 0}, "memory": {"swappiness": 0}})[1] == {
        "pids": {"limit": 0},
        "cpu": {"idle": 0, "burst": 0, "quota": 5000, "period": 100000},
        "memory": {"swappiness": 0},
    }


def test_a_memory_limit_is_written_with_the_limit_on_memory_and_swap() -> None:
    after, written = change({"memory": {"limit": 120}})
    assert after == {"memory": {"limit": 120, "swap": 150, "checkBeforeUpdate": True}}
    assert written == {"memory": {"limit": 120, "swap": 150}}
    assert change({"memory": {"swap": 200}})[1] == {"memory": {"limit": 100, "swap": 200}}
    assert change({"memory": {"reservation": 5}})[1] == {"memory": {"reservation": 5}}


def test_no_memory_limit_means_no_swap_limit_either() -> None:
    after, written = change({"memory": {"limit": -1}})
    assert after["memory"] == {"limit": -1, "checkBeforeUpdate": True}
    assert written == {"memory": {"limit": -1}}
    assert change({"memory": {"limit": -1, "swap": 200}})[0]["memory"]["swap"] == 200


def test_the_check_concerns_only_this_change() -> None:
    after, written = change({"memory": {"limit": 120, "checkBeforeUpdate": True}})
    assert written == {"memory": {"limit": 120, "swap": 150, "checkBeforeUpdate": True}}
    assert "checkBeforeUpdate" not in after["memory"]
    assert change({"memory": {"checkBeforeUpdate": False}}) == ({}, {})


def test_quota_and_period_belong_together() -> None:
    assert change({"cpu": {"period": 50000}})[1] == {"cpu": {"period": 50000, "quota": 5000}}
    assert change({"cpu": {"quota": -1}})[1] == {"cpu": {"period": 100000, "quota": -1}}
    assert change({"cpu": {"realtimeRuntime": 7}})[1] == {"cpu": {"realtimeRuntime": 7}}


def test_shares_and_idle() -> None:
    old: Any = {"cpu": {"shares": 512, "idle": 1}}
    new: Any = {"cpu": {"idle": 0}}
    assert affected(merged(old, new), new) == {"cpu": {"idle": 0, "shares": 512}}
    new = {"cpu": {"idle": 1}}
    assert affected(merged(old, new), new) == {"cpu": {"idle": 1}}
    new = {"cpu": {"shares": 100}}
    with pytest.raises(Error, match="an idle container has no CPU shares"):
        affected(merged(old, new), new)


def test_devices_are_distinguished_by_their_numbers() -> None:
    after, written = change({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 9}]}})
    assert after["blockIO"]["throttleReadBpsDevice"] == [
        {"major": 8, "minor": 0, "rate": 1},
        {"major": 8, "minor": 16, "rate": 9},
    ]
    assert written == {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 9}]}}
    after, _ = change({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 9}]}})
    assert after["blockIO"]["weightDevice"] == [{"major": 8, "minor": 0, "weight": 9}]


def test_page_sizes_files_and_rdma_devices() -> None:
    new = {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 5}, {"pageSize": "1GB", "limit": 0}],
        "unified": {"memory.high": "2", "pids.max": "3"},
        "rdma": {"mlx5_1": {"hcaObjects": 2}, "mlx5_2": None},
    }
    after, written = change(new)
    assert after == {**new, "rdma": {"mlx5_1": {"hcaHandles": 1, "hcaObjects": 2}, "mlx5_2": {}}}
    assert written == new


@pytest.mark.parametrize(
    ("file", "text", "value", "line"),
    [
        ("pids.max", "max\n", "5", "max"),
        ("cpu.max", "5000 100000\n", "max 50000", "5000 100000"),
        ("io.weight", "default 100\n8:0 50\n", "8:0 70", "8:0 50"),
        ("io.weight", "default 100\n", "8:0 70", "8:0 default"),
        ("blkio.bfq.weight_device", "", "8:0 70", "8:0 default"),
        ("io.max", "8:0 rbps=1 wbps=max\n8:16 rbps=2 wbps=max\n", "8:16 rbps=9", "8:16 rbps=2 wbps=max"),
        ("io.max", "8:0 rbps=1 wbps=max\n", "8:16 rbps=9", "8:16 rbps=max wbps=max riops=max wiops=max"),
        ("blkio.throttle.read_bps_device", "8:0 7\n", "8:16 9", "8:16 0"),
        ("cpuset.cpus", "", "0-1", ""),
    ],
)
def test_what_a_value_will_replace(file: str, text: str, value: str, line: str) -> None:
    assert applying.replaced_part(file, text, value) == line


def write(file: str, value: str, **more: Any) -> Action:
    arguments: Write = {"controller": "", "file": file, "value": value, **more}  # type: ignore[typeddict-item]
    return "cgroup_write", "/" + file, arguments


def test_a_change_that_fails_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "b").write_text("2\n")
    cgroup = Cgroup("v2", {"": str(tmp_path)}, [])
    with pytest.raises(Error) as caught:
        applying.apply(cgroup, [write("a", "5"), write("old", "6", other_file="b"), write("missing", "7")])
    assert caught.value.pointer == "/missing"
    assert ((tmp_path / "a").read_text().strip(), (tmp_path / "b").read_text().strip()) == ("1", "2")
    undo = applying.apply(cgroup, [write("a", "5")])
    assert (tmp_path / "a").read_text().startswith("5")
    applying.restore(undo)
    assert (tmp_path / "a").read_text().startswith("1")


def test_values_that_depend_on_each_other_are_restored_in_two_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's rule: the memory limit never exceeds the limit on memory and swap."""
    values = {"limit": 100, "both": 100}

    def set_value(path: str, value: str) -> None:
        after = {**values, path.rpartition("/")[2]: int(value)}
        if after["limit"] > after["both"]:
            raise OSError(errno.EINVAL, "Invalid argument")
        values.update(after)

    monkeypatch.setattr(files, "write", set_value)
    set_value("/limit", "20")
    set_value("/both", "30")
    applying.restore([("/both", "100"), ("/limit", "100")])
    assert values == {"limit": 100, "both": 100}


def test_a_check_is_carried_out_too(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("1000\n")
    limits: Check = {"limit": 10, "swap": 0}
    check: Action = ("cgroup_check_memory", "/check", limits)
    with pytest.raises(Error, match="1000 bytes are in use") as caught:
        applying.apply(Cgroup("v2", {"": str(tmp_path)}, []), [check])
    assert caught.value.pointer == "/check"

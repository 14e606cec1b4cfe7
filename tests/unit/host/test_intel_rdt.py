"""linux.intelRdt: from config to steps, and the files of the resctrl filesystem, imitated in a plain directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.linux import resctrl
from ocipy.operations import rdt_statistics
from ocipy.plan.build import build
from ocipy.plan.intel_rdt import RdtGroup, RdtJoin, RdtKeep, RdtMonitoring, RdtSchema
from ocipy.plan.model import Host, Options, Plan, Step
from tests.unit.documents import minimal

OPTIONS = Options(container_id="web", bundle="/b")
SCHEMATA = b"    L3:0=07f;1=7ff\nL3CODE:0=1\n    MB:0= 20;1=100\n"


def planned(rdt: Any, container_id: str = "web") -> Plan:
    config: Any = {**minimal(), "linux": {"namespaces": [{"type": "mount"}], "intelRdt": rdt}}
    return build(config, Host(), Options(container_id=container_id, bundle="/b"))


def steps(rdt: Any) -> Sequence[Step]:
    return [step for step in planned(rdt).host if step.action.startswith("rdt_")]


def test_no_steps_without_the_field() -> None:
    assert steps(None) == []


def test_an_empty_object_means_a_class_named_after_the_container() -> None:
    assert steps({}) == [
        RdtGroup("/linux/intelRdt", name="web", make=True),
        RdtJoin("/linux/intelRdt"),
    ]


def test_the_order_of_the_writes() -> None:
    """config-linux.md: l3CacheSchema first, then memBwSchema, schemata last."""
    rdt = {
        "schemata": ["MB:0=5", "L3:0=1"],
        "memBwSchema": "MB:0=7",
        "l3CacheSchema": "L3:0=f",
        "closID": "gold",
        "enableMonitoring": True,
    }
    assert steps(rdt) == [
        RdtGroup("/linux/intelRdt/closID", name="gold", make=True),
        RdtSchema("/linux/intelRdt/l3CacheSchema", line="L3:0=f", compared=True),
        RdtSchema("/linux/intelRdt/memBwSchema", line="MB:0=7", compared=True),
        RdtSchema("/linux/intelRdt/schemata/0", line="MB:0=5", compared=False),
        RdtSchema("/linux/intelRdt/schemata/1", line="L3:0=1", compared=False),
        RdtMonitoring("/linux/intelRdt/enableMonitoring", name="web"),
        RdtJoin("/linux/intelRdt"),
        RdtKeep("/linux/intelRdt/closID"),
    ]


@pytest.mark.parametrize(
    ("rdt", "make"),
    [({"closID": "gold"}, False), ({"closID": "/", "schemata": ["L3:0=f"]}, False), ({"memBwSchema": "MB:0=7"}, True)],
)
def test_a_named_class_without_schemata_must_exist(rdt: Any, make: bool) -> None:
    assert vars(steps(rdt)[0])["make"] is make


def test_the_process_joins_its_class_before_it_may_continue() -> None:
    plan = planned({})
    actions = [step.title for step in plan.host]
    assert actions.index("rdt_group web") < actions.index("clone")
    assert actions.index("clone") < actions.index("rdt_join") < actions.index("tell begin")


def test_a_class_cannot_have_the_name_of_a_file_of_resctrl() -> None:
    with pytest.raises(Error) as caught:
        planned({}, "info")
    assert caught.value.pointer == "/linux/intelRdt/closID"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", ""),
        (b"36 35 0:99 / /sys/fs/resctrl rw,relatime shared:1 - resctrl resctrl rw,cdp\n", "/sys/fs/resctrl"),
        (b"36 35 0:99 / /with\\040blank rw - resctrl none rw\n", "/with blank"),
        # A subdirectory of one; names that look like one; a truncated line.
        (b"36 35 0:99 /web /sys/fs/resctrl rw - resctrl resctrl rw\n", ""),
        (b"36 35 0:99 / /x\\040-\\040resctrl rw - tmpfs resctrl rw\n", ""),
        (b"36 35 0:99 / /sys/fs/resctrl rw - resctrl2 resctrl rw\n", ""),
        (b"36 35\n", ""),
    ],
)
def test_where_it_is_mounted(text: bytes, found: str) -> None:
    assert resctrl.find(text) == found


@pytest.mark.parametrize(
    ("line", "agrees"),
    [
        ("L3:0=7f;1=7ff", True),
        ("L3:1=7FF", True),
        ("L3:0=7e", False),
        ("L3:2=7ff", False),
        ("MB:0=20", True),
        ("MB:0=14", False),
        ("L3CODE:0=1", True),
        ("L3DATA:0=1", False),
        ("L3", False),
        ("L3:", False),
        ("L3:0", False),
    ],
)
def test_whether_a_class_has_a_schema(line: str, agrees: bool) -> None:
    assert resctrl.agrees(line, SCHEMATA) is agrees


def test_the_line_of_a_resource() -> None:
    assert resctrl.line_of(SCHEMATA, "L3") == "L3:0=07f;1=7ff"
    assert resctrl.line_of(SCHEMATA, "L2") == ""


def test_groups_are_made_written_and_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "gold")
    assert resctrl.make_group(path)
    assert not resctrl.make_group(path)
    assert not resctrl.is_group(path)
    for name in ("tasks", "schemata"):
        (tmp_path / "gold" / name).write_text("")
    assert resctrl.is_group(path)
    resctrl.write(path + "/tasks", "17")
    assert (tmp_path / "gold/tasks").read_text() == "17\n"
    with pytest.raises(FileNotFoundError):
        resctrl.write(path + "/no-such", "x")
    for name in ("tasks", "schemata"):
        (tmp_path / "gold" / name).unlink()
    resctrl.remove_group(path)
    resctrl.remove_group(path)
    assert not (tmp_path / "gold").exists()


@pytest.mark.parametrize(("said", "reason"), [(None, ""), ("ok\n", ""), ("no\xff such\n", "no\ufffd such")])
def test_the_error_contains_the_kernels_reason(tmp_path: Path, said: str | None, reason: str) -> None:
    (tmp_path / "info").mkdir()
    if said is not None:
        (tmp_path / "info/last_cmd_status").write_bytes(said.encode("latin-1"))
    assert resctrl.reason(str(tmp_path)) == reason


def test_figures_of_a_processor_with_few_features(tmp_path: Path) -> None:
    for name, text in {
        "schemata": "L3:0=f\n",
        "web/schemata": "L3:0=3\n",
        "info/L3/cbm_mask": "f\n",
        "info/L3/num_closids": "4\n",
        "web/mon_data/mon_L3_00/llc_occupancy": "Unavailable\n",
        "web/mon_data/mon_L3_01/llc_occupancy": "5\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    groups: Any = {"group": str(tmp_path / "web"), "monitoring": "", "remove": []}
    assert rdt_statistics.collect(groups, str(tmp_path)) == {
        "l3_cache_info": {"cbm_mask": "f", "num_closids": 4},
        "l3_cache_schema_root": "L3:0=f",
        "l3_cache_schema": "L3:0=3",
        "cmt_stats": [{}, {"llc_occupancy": 5}],
    }
    assert rdt_statistics.collect(groups, str(tmp_path / "no-such")).keys() == {"l3_cache_schema", "cmt_stats"}

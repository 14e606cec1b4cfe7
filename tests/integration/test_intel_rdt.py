"""linux.intelRdt, on a filesystem that behaves like resctrl (tests/harness/resctrl.py; config-linux.md, IntelRdt)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Result, Runtime, wait_until
from tests.harness.host import umount

pytestmark = [
    pytest.mark.ocipy_only("runc believes the kernel's list of filesystems, and finds none here"),
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="the stand-in for resctrl needs /dev/fuse"),
]

NewId = Callable[[], str]
Check = Callable[[], None]
# As for a process with resctrl in its mount namespace: only mountinfo is faked.
SHOWING = 'mount --bind "$0" /proc/$$/mountinfo && exec "$@"'


class Rdt:
    """The filesystem, and a runtime that sees it."""

    def __init__(self, runtime: Runtime, top: Path, mountinfo: Path) -> None:
        self.runtime = runtime
        self.top = top
        self.prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SHOWING, str(mountinfo)]

    def call(self, *args: str | Path, **options: Any) -> Result:
        return self.runtime.call(*args, prefix=self.prefix, **options)

    def create(self, bundle: Bundle, container_id: str, **rdt: Any) -> Result:
        bundle.linux["intelRdt"] = rdt
        bundle.write()
        return self.call("create", "--bundle", bundle.path, container_id)

    def delete(self, container_id: str) -> None:
        self.call("delete", "--force", container_id).ok()

    @property
    def writes(self) -> list[str]:
        return (self.top / "writes").read_text().splitlines()

    @property
    def classes(self) -> set[str]:
        return {path.name for path in self.top.iterdir() if (path / "schemata").exists()}

    @property
    def monitors(self) -> set[str]:
        return {str(path.relative_to(self.top)) for path in self.top.glob("**/mon_groups/*")}


@pytest.fixture
def rdt(runtime: Runtime, work: Path) -> Iterator[Rdt]:
    top = work / "resctrl"
    top.mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.harness.resctrl", str(top)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "mounted\n"
        mountinfo = work / "mountinfo"
        mountinfo.write_text(
            Path("/proc/self/mountinfo").read_text() + f"9999 1 0:99 / {top} rw,relatime - resctrl resctrl rw\n"
        )
        yield Rdt(runtime, top, mountinfo)
    finally:
        umount(str(top))
        server.wait(20)


@pytest.fixture
def sleeping(bundle: Bundle) -> Bundle:
    bundle.args("sleep", "1000")
    return bundle


def test_the_containers_own_class(rdt: Rdt, sleeping: Bundle, new_id: NewId) -> None:
    """Named after the container, with the schemata in the specification's order, and removed with it."""
    name = new_id()
    rdt.create(
        sleeping,
        name,
        schemata=["MB:1=30", "L3:1=3"],
        memBwSchema="MB:0=20",
        l3CacheSchema="L3:0=f;1=ff",
        enableMonitoring=True,
    ).ok()
    pid = rdt.runtime.state(name)["pid"]
    assert rdt.writes == [
        f"/{name}/schemata L3:0=f;1=ff",
        f"/{name}/schemata MB:0=20",
        f"/{name}/schemata MB:1=30",
        f"/{name}/schemata L3:1=3",
        f"/{name}/tasks {pid}",
        f"/{name}/mon_groups/{name}/tasks {pid}",
    ]
    assert (rdt.top / name / "schemata").read_text().split() == ["L3:0=00f;1=003", "MB:0=20;1=30"]
    rdt.delete(name)
    assert (rdt.classes, rdt.monitors) == (set(), set())


def test_without_schemata_none_is_written(rdt: Rdt, sleeping: Bundle, new_id: NewId) -> None:
    name = new_id()
    rdt.create(sleeping, name).ok()
    assert rdt.writes == [f"/{name}/tasks {rdt.runtime.state(name)['pid']}"]
    assert rdt.classes == {name}
    assert rdt.monitors == set()
    rdt.delete(name)
    assert rdt.classes == set()


def test_a_named_class_is_made_and_stays(rdt: Rdt, sleeping: Bundle, new_id: NewId) -> None:
    name = new_id()
    rdt.create(sleeping, name, closID="gold", l3CacheSchema="L3:0=f", enableMonitoring=True).ok()
    assert rdt.monitors == {f"gold/mon_groups/{name}"}
    rdt.delete(name)
    assert rdt.classes == {"gold"}
    assert rdt.monitors == set()


@pytest.mark.parametrize("top", [False, True])
def test_an_existing_class_is_joined(rdt: Rdt, sleeping: Bundle, new_id: NewId, top: bool) -> None:
    """It is never removed; "/" is the default class."""
    (rdt.top / "gold").mkdir()
    where = "" if top else "/gold"
    first, second = new_id(), new_id()
    rdt.create(sleeping, first, closID="/" if top else "gold").ok()
    assert rdt.writes == [f"{where}/tasks {rdt.runtime.state(first)['pid']}"]
    rdt.delete(first)
    rdt.create(sleeping, second, closID="/" if top else "gold", l3CacheSchema="L3:0=7FF", memBwSchema="MB:1=100").ok()
    rdt.delete(second)
    assert rdt.classes == {"gold"}


@pytest.mark.parametrize(
    ("schemas", "pointer"),
    [
        ({"l3CacheSchema": "L3:0=7ff;1=f"}, "/linux/intelRdt/l3CacheSchema"),
        ({"l3CacheSchema": "L3:0=7ff", "memBwSchema": "MB:0=20"}, "/linux/intelRdt/memBwSchema"),
    ],
)
def test_an_existing_class_must_have_the_schema(
    rdt: Rdt, sleeping: Bundle, new_id: NewId, schemas: dict[str, str], pointer: str
) -> None:
    (rdt.top / "gold").mkdir()
    rdt.create(sleeping, new_id(), closID="gold", **schemas).fails(pointer, "exists, but instead of")
    assert rdt.classes == {"gold"}
    assert not any("tasks" in line for line in rdt.writes)
    assert rdt.runtime.ids() == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"closID": "gold"}, ("/linux/intelRdt/closID", "class of service gold is missing")),
        ({"closID": "gold", "enableMonitoring": True}, ("/linux/intelRdt/closID", "class of service gold is missing")),
        ({"closID": "info"}, ("/linux/intelRdt/closID", "resctrl filesystem itself")),
        ({"closID": "gold", "schemata": ["XX:0=1"]}, ("/linux/intelRdt/schemata/0", "Unknown or unsupported resource")),
        ({"l3CacheSchema": "L3:7=1"}, ("/linux/intelRdt/l3CacheSchema", "Unknown or unsupported resource")),
    ],
)
def test_a_refused_config_leaves_nothing(
    rdt: Rdt, sleeping: Bundle, new_id: NewId, given: dict[str, Any], words: tuple[str, ...]
) -> None:
    rdt.create(sleeping, new_id(), **given).fails(*words)
    assert rdt.classes == set()
    assert rdt.runtime.ids() == []


def test_a_failed_create_removes_its_groups(rdt: Rdt, bundle: Bundle, new_id: NewId) -> None:
    """This includes a class that would otherwise stay."""
    bundle.args("no-such-command")
    for closid in ({"closID": "gold"}, {}):
        rdt.create(bundle, new_id(), memBwSchema="MB:0=50", enableMonitoring=True, **closid).fails("not found")
        assert (rdt.classes, rdt.monitors) == (set(), set())


@pytest.mark.parametrize("kind", ["class", "monitor", "taken"])
def test_no_class_or_group_is_left(rdt: Rdt, sleeping: Bundle, new_id: NewId, kind: str) -> None:
    name = new_id()
    pointer, hint = "/linux/intelRdt", "num_closids"
    if kind == "class":
        for used in ("a", "b"):
            (rdt.top / used).mkdir()
    else:
        pointer, hint = "/linux/intelRdt/enableMonitoring", "num_rmids" if kind == "monitor" else "already"
        for used in ("a", name) if kind == "taken" else ("a", "b"):
            (rdt.top / "mon_groups" / used).mkdir()
    before = rdt.classes, rdt.monitors
    result = rdt.create(sleeping, name, enableMonitoring=True, **({"closID": "/"} if kind != "class" else {}))
    result.fails(pointer, hint)
    assert (rdt.classes, rdt.monitors) == before
    assert rdt.runtime.ids() == []


def test_a_killed_create_leaves_nothing_that_delete_does_not_find(rdt: Rdt, sleeping: Bundle, new_id: NewId) -> None:
    name = new_id()
    marker = sleeping.path / "marker"
    script = f"echo $$ > {marker}; exec sleep 100"
    sleeping.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    sleeping.linux["intelRdt"] = {"closID": "gold", "schemata": ["MB:0=50"], "enableMonitoring": True}
    sleeping.write()
    running = rdt.runtime.begin("create", "--bundle", sleeping.path, name, prefix=rdt.prefix)
    wait_until(lambda: marker.exists() and marker.read_text().endswith("\n"))
    assert rdt.monitors == {f"gold/mon_groups/{name}"}
    running.signal(signal.SIGKILL)
    running.wait(5)
    os.kill(int(marker.read_text()), signal.SIGKILL)
    rdt.delete(name)
    assert (rdt.classes, rdt.monitors) == (set(), set())


def test_exec_joins_the_class_too(rdt: Rdt, sleeping: Bundle, new_id: NewId, work: Path) -> None:
    name = new_id()
    rdt.create(sleeping, name, enableMonitoring=True).ok()
    rdt.call("start", name).ok()
    before = len(rdt.writes)
    rdt.call("exec", name, "true").ok()
    joined = rdt.writes[before:]
    assert [line.split()[0] for line in joined] == [f"/{name}/tasks", f"/{name}/mon_groups/{name}/tasks"]
    assert len({line.split()[1] for line in joined}) == 1
    rdt.delete(name)


def test_update(rdt: Rdt, sleeping: Bundle, new_id: NewId) -> None:
    name = new_id()
    rdt.create(sleeping, name, l3CacheSchema="L3:0=f").ok()
    rdt.call("update", "--l3-cache-schema", "L3:0=ff;1=1", "--mem-bw-schema", "MB:0=40", name).ok()
    schemata = (rdt.top / name / "schemata").read_text()
    assert schemata.split() == ["L3:0=0ff;1=001", "MB:0=40;1=100"]
    # All or nothing.
    for words in (
        ("--l3-cache-schema", "L3:0=1", "--mem-bw-schema", "MB:9=40"),
        ("--l3-cache-schema", "L3:0=1", "--memory", "17"),
        ("--l3-cache-schema", "MB:0=50"),
        ("--mem-bw-schema", "L3:0=1"),
        ("--mem-bw-schema", "MB:0=50\nL3:0=1"),
    ):
        rdt.call("update", *words, name).fails()
        assert (rdt.top / name / "schemata").read_text() == schemata
    rdt.delete(name)


def test_update_of_a_container_without_a_class(rdt: Rdt, sleeping: Bundle, new_id: NewId) -> None:
    """The runtime does not touch resctrl for a container without intelRdt."""
    name = new_id()
    sleeping.write()
    rdt.call("create", "--bundle", sleeping.path, name).ok()
    rdt.call("update", "--l3-cache-schema", "L3:0=ff", name).fails(
        "/linux/intelRdt", "no class of service", "not enabled"
    )
    rdt.delete(name)
    assert rdt.writes == []
    assert rdt.classes == set()


def test_events(rdt: Rdt, sleeping: Bundle, new_id: NewId) -> None:
    name = new_id()
    rdt.create(sleeping, name, l3CacheSchema="L3:0=f", enableMonitoring=True).ok()
    figures = rdt.call("events", "--stats", name).ok().json["data"]["intel_rdt"]
    assert figures == {
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 3},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": "L3:0=00f;1=7ff",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 3},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=100;1=100",
        "mbm_stats": [
            {"mbm_total_bytes": 2000, "mbm_local_bytes": 3000},
            {"mbm_total_bytes": 2001, "mbm_local_bytes": 3001},
        ],
        "cmt_stats": [{"llc_occupancy": 1000}, {"llc_occupancy": 1001}],
    }
    rdt.delete(name)


def test_without_a_resctrl_mount(runtime: Runtime, sleeping: Bundle, new_id: NewId) -> None:
    sleeping.linux["intelRdt"] = {}
    runtime.create(sleeping, new_id()).fails("/linux/intelRdt", "no resctrl filesystem is mounted")
    assert runtime.ids() == []

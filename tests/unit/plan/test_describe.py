"""ocipy plan: steps in words, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocipy.config import template as templates
from ocipy.errors import printable
from ocipy.linux.constants import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
)
from ocipy.plan.build import build
from ocipy.plan.capabilities import Bounding
from ocipy.plan.cgroup import CgroupCheckMemory, CgroupDevices, CgroupWrite
from ocipy.plan.describe import as_json, as_text, concerns, selected
from ocipy.plan.devices import Device
from ocipy.plan.hooks import RuntimeHook
from ocipy.plan.model import Host, Options, Plan, Step
from ocipy.plan.mounts import Bind
from ocipy.plan.namespace_contents import NetDevices, TimeOffsets
from ocipy.plan.namespaces import UidMap
from ocipy.plan.process import Environment, Umask
from ocipy.plan.rlimits import Rlimit, RlimitFromHost
from ocipy.plan.rootfs import Propagation
from ocipy.plan.scheduling import MemoryPolicy
from ocipy.plan.seccomp import SeccompLoad
from ocipy.plan.uts import Hostname
from tests.unit.kinds import assert_complete

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OPTIONS = Options(container_id="c", bundle="/b", state_directory="/run/ocipy/c", has_console=True)
HOSTS = [
    Host(cgroup_mode="hybrid", cgroup_controllers=("cpu,cpuacct", "memory", "pids", "name=systemd"), apparmor=True),
    Host(cgroup_mode="v2", cgroup_controllers=("cpu", "io", "memory", "pids"), apparmor=True),
]


def template() -> Any:
    return templates.template()


def engine_configs() -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted(CONFIGS.glob("*.json"))]


@pytest.mark.parametrize("host", HOSTS, ids=["hybrid", "v2"])
@pytest.mark.parametrize("config", [template(), *engine_configs()], ids=lambda config: config.get("hostname", ""))
def test_the_words_fit_the_arguments(config: Any, host: Host) -> None:
    plan = build(config, host, OPTIONS)
    assert len(plan.host) > 10
    assert len(plan.init) > 30
    for step in [*plan.host, *plan.init]:
        assert_complete(step)


def test_the_text_is_a_line_a_step() -> None:
    plan = build(template(), HOSTS[1], OPTIONS)
    lines = as_text(plan).splitlines()
    assert len(lines) == len(plan.host) + len(plan.init) + len(plan.warnings)
    proc = next(line for line in lines if line.endswith("/mounts/0"))
    assert proc.split()[:1] + proc.split()[2:] == ["init", "mount", "proc", "→", "/proc", "/mounts/0"]


def test_only_one_field() -> None:
    plan = build(template(), HOSTS[1], OPTIONS)
    found = selected(plan, "/mounts/1")
    assert {step.pointer for _, _, step in found} == {"/mounts/1"}
    everything = selected(plan, "/mounts")
    assert len({step.pointer for _, _, step in everything}) == len(template()["mounts"])
    assert as_text(plan, "/no/such/field") == ""


def test_a_prefix_is_of_whole_names() -> None:
    assert concerns("/mounts/1", "/mounts/1")
    assert concerns("/mounts/1/options", "/mounts/1")
    assert concerns("/mounts/1", "/mounts/")
    assert concerns("", "")
    assert not concerns("/mounts/10", "/mounts/1")
    assert not concerns("/mounts", "/mounts/1")
    assert not concerns("", "/mounts")


def test_json_has_the_arguments() -> None:
    plan = Plan()
    plan.host.append(RlimitFromHost("/process/rlimits/0", name="RLIMIT_CORE", resource=4, soft=0, hard=2**64 - 1))
    plan.warnings.append(("/process", "something"))
    plan.warnings.append(("/linux", "something else"))
    assert json.loads(as_json(plan, "/process")) == {
        "host": [
            {
                "number": 1,
                "action": "rlimit_from_host",
                "pointer": "/process/rlimits/0",
                "description": "core 0 bytes:unlimited",
                "arguments": {"name": "RLIMIT_CORE", "resource": 4, "soft": 0, "hard": 2**64 - 1},
            }
        ],
        "init": [],
        "warnings": [{"pointer": "/process", "text": "something"}],
    }


def written(file: str, value: str) -> CgroupWrite:
    return CgroupWrite(controller="memory", file=file, value=value)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Rlimit(name="RLIMIT_MEMLOCK", resource=8, soft=65536, hard=2**20),
         "memlock 65536 bytes (64 KiB):1048576 bytes (1 MiB)"),
        (Rlimit(name="RLIMIT_CPU", resource=0, soft=5, hard=2**64 - 1), "cpu 5 s:unlimited"),
        (Rlimit(name="RLIMIT_NOFILE", resource=7, soft=5, hard=6), "nofile 5:6"),
        (written("memory.max", "104857600"), "memory.max ← 104857600 bytes (100 MiB)"),
        (written("memory.limit_in_bytes", "-1"), "memory.limit_in_bytes ← -1"),
        (written("hugetlb.2MB.max", "2097152"), "hugetlb.2MB.max ← 2097152 bytes (2 MiB)"),
        (written("pids.max", "2048"), "pids.max ← 2048"),
        (CgroupCheckMemory(limit=1536, swap=0), "the current usage must not exceed 1536 bytes (1.5 KiB)"),
    ],
)  # fmt: skip
def test_sizes_show_their_units(step: Step, text: str) -> None:
    assert step.describe() == text


def test_nothing_that_a_terminal_would_obey() -> None:
    plan = Plan()
    plan.init.append(Hostname("/hostname", name="a\x1b[31m\nb"))
    assert as_text(plan) == "init    1  hostname  a\\x1b[31m\\nb  /hostname\n"
    assert printable("ü→\t") == "ü→\\t"


def bound(recursive_set: int, recursive_clear: int) -> Bind:
    return Bind(
        destination="/b", source="/a", opened=False, recursive=True, source_nofollow=False, target_nofollow=False,
        attr_set=0, attr_clear=0, attr_implicit=0, propagation=(),
        recursive_set=recursive_set, recursive_clear=recursive_clear,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Bounding(kept=0b1011, last=40), "3 kept, 38 dropped"),
        (Umask(mask=0o22), "0022"),
        (Propagation(flags=0x4000 | 0x80000), "/ rslave"),
        (TimeOffsets(offsets=(("monotonic", 5, 7), ("boottime", -3, 0))),
         "monotonic +5.000000007 s, boottime -3.000000000 s"),
        (NetDevices(devices=(("eth1", "a"), ("eth2", "eth2"))), "eth1 → a, eth2"),
        (CgroupDevices(rules=((False, "a", -1, -1, 7), (True, "c", 1, 3, 6)), tolerant=False),
         "deny rwm, allow c 1:3 rw"),
        (SeccompLoad(flags=2 | 8, optional=False), "the filter with log, a listener"),
        (SeccompLoad(flags=4, optional=True), "the filter with spec_allow if possible"),
        (RuntimeHook(kind="prestart", index=0, path="/h", args=("h", "x"), env=None, timeout=3),
         "prestart /h x, timeout 3 s"),
        (MemoryPolicy(mode=2 | 0x8000, nodes=(0, 1)), "MPOL_BIND MPOL_F_STATIC_NODES nodes 0,1"),
        (UidMap(mappings=((0, 100000, 65536),), by_helper=True), "0+65536 ← 100000, by newuidmap"),
        (Device(bind=False, name="", path="/dev/fuse", kind="c", major=10, minor=229, mode=0o666, uid=0, gid=5,
                asked=True), "/dev/fuse c 10:229 0666 0:5"),
        (Environment(variables=("A=1",), uid=0, listen_fds=0), "1 variable"),
        (bound(recursive_set=MOUNT_ATTR_NODEV, recursive_clear=MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID),
         "/a → /b recursive rnodev rrw rsuid"),
        (bound(recursive_set=MOUNT_ATTR_NOATIME, recursive_clear=MOUNT_ATTR__ATIME), "/a → /b recursive rnoatime"),
        (bound(recursive_set=0, recursive_clear=MOUNT_ATTR__ATIME), "/a → /b recursive rrelatime"),
    ],
)  # fmt: skip
def test_words(step: Step, text: str) -> None:
    assert step.describe() == text

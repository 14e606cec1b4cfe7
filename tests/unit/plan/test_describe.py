"""ocipy plan: steps in words, as text and as JSON."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from ocipy.config import template as templates
from ocipy.host import lane as host_lane
from ocipy.init import lane
from ocipy.plan.build import build
from ocipy.plan.describe import as_json, as_text, concerns, printable, selected
from ocipy.plan.model import Host, Options, Plan
from ocipy.plan.wording import WORDINGS, describe

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


def test_every_action_has_words() -> None:
    elsewhere = {action for places in (host_lane.PLACES, lane.PLACES) for names in places.values() for action in names}
    assert set(WORDINGS) == set(host_lane.ACTIONS) | set(lane.ACTIONS) | elsewhere


@pytest.mark.parametrize("host", HOSTS, ids=["hybrid", "v2"])
@pytest.mark.parametrize("config", [template(), *engine_configs()], ids=lambda config: config.get("hostname", ""))
def test_the_words_fit_the_arguments(config: Any, host: Host) -> None:
    plan = build(config, host, OPTIONS)
    assert len(plan.host) > 10
    assert len(plan.init) > 30
    lane.load(plan.host, "ocipy.host", host_lane.PLACES, host_lane.ACTIONS)
    lane.load(plan.init)
    for table, steps in ((host_lane.ACTIONS, plan.host), (lane.ACTIONS, plan.init)):
        for step in steps:
            assert describe(step.action, step.args)
            # The action takes just these arguments: a step that nobody can carry out would be no plan.
            inspect.signature(table[step.action]).bind(None, **step.args)


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
    plan.on_host("rlimit", "/process/rlimits/0", name="RLIMIT_CORE", resource=4, soft=0, hard=2**64 - 1)
    plan.warn("/process", "something")
    plan.warn("/linux", "something else")
    assert json.loads(as_json(plan, "/process")) == {
        "host": [
            {
                "number": 1,
                "action": "rlimit",
                "pointer": "/process/rlimits/0",
                "description": "core 0 bytes:unlimited",
                "arguments": {"name": "RLIMIT_CORE", "resource": 4, "soft": 0, "hard": 2**64 - 1},
            }
        ],
        "init": [],
        "warnings": [{"pointer": "/process", "text": "something"}],
    }


@pytest.mark.parametrize(
    ("action", "arguments", "text"),
    [
        (
            "rlimit",
            {"name": "RLIMIT_MEMLOCK", "soft": 65536, "hard": 2**20},
            "65536 bytes (64 KiB):1048576 bytes (1 MiB)",
        ),
        ("rlimit", {"name": "RLIMIT_CPU", "soft": 5, "hard": 2**64 - 1}, "cpu 5 s:unlimited"),
        ("rlimit", {"name": "RLIMIT_NOFILE", "soft": 5, "hard": 6}, "nofile 5:6"),
        ("cgroup_write", {"file": "memory.max", "value": "104857600"}, "memory.max ← 104857600 bytes (100 MiB)"),
        ("cgroup_write", {"file": "memory.limit_in_bytes", "value": "-1"}, "memory.limit_in_bytes ← -1"),
        ("cgroup_write", {"file": "hugetlb.2MB.max", "value": "2097152"}, "2097152 bytes (2 MiB)"),
        ("cgroup_write", {"file": "pids.max", "value": "2048"}, "pids.max ← 2048"),
        ("cgroup_check_memory", {"limit": 1536, "swap": 0}, "limit 1536 bytes (1.5 KiB) is above the current usage"),
    ],
)
def test_sizes_show_their_units(action: str, arguments: dict[str, Any], text: str) -> None:
    assert text in describe(action, arguments)


def test_nothing_that_a_terminal_would_obey() -> None:
    plan = Plan()
    plan.in_init("hostname", "/hostname", name="a\x1b[31m\nb")
    assert as_text(plan) == "init    1  hostname  a\\x1b[31m\\nb  /hostname\n"
    assert printable("ü→\t") == "ü→\\t"


def test_an_action_without_words_of_its_own() -> None:
    assert describe("new_action", {"path": "/x", "nothing": "", "flag": True}) == "path=/x flag=True"


@pytest.mark.parametrize(
    ("action", "arguments", "text"),
    [
        ("bounding", {"kept": 0b1011, "last": 40}, "3 kept, 38 dropped"),
        ("umask", {"mask": 0o22}, "0022"),
        ("propagation", {"flags": 0x4000 | 0x80000}, "/ rslave"),
        ("time_offsets", {"offsets": (("monotonic", 5, 7), ("boottime", -3, 0))},
         "monotonic +5.000000007 s, boottime -3.000000000 s"),
        ("net_devices", {"devices": (("eth1", "a"), ("eth2", "eth2"))}, "eth1 → a, eth2"),
        ("cgroup_devices", {"rules": ((False, "a", -1, -1, 7), (True, "c", 1, 3, 6))}, "deny rwm, allow c 1:3 rw"),
        ("seccomp_load", {"flags": 2 | 8, "optional": False}, "the filter log with listener"),
        ("hook", {"kind": "prestart", "path": "/h", "args": ("h", "x"), "env": None, "timeout": 3},
         "prestart /h x for at most 3 s"),
        ("memory_policy", {"mode": 2 | 0x8000, "nodes": (0, 1)}, "MPOL_BIND MPOL_F_STATIC_NODES nodes 0,1"),
        ("uid_map", {"mappings": ((0, 100000, 65536),), "by_helper": True}, "0+65536 ← 100000 by the setuid helper"),
        ("device", {"path": "/dev/fuse", "kind": "c", "major": 10, "minor": 229, "mode": 0o666, "uid": 0, "gid": 5,
                    "bind": False}, "/dev/fuse c 10:229 0666 0:5"),
    ],
)  # fmt: skip
def test_words(action: str, arguments: dict[str, Any], text: str) -> None:
    assert describe(action, arguments) == text

"""What a snapshot's maker practises: afterwards the hot functions hold specialized instructions."""

from __future__ import annotations

import dis
import posix
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, cast

import pytest

from ocipy.cgroups import device_program, devices
from ocipy.cgroups.devices import DEFAULT_RULES, DENY_ALL, effective
from ocipy.cli import arguments, practice
from ocipy.cli.table import HOT as COMMANDS
from ocipy.cli.table import load_command
from ocipy.config import check, mount_options, semantic
from ocipy.init import devices as init_devices
from ocipy.init import lookup, paths
from ocipy.init import masks as init_masks
from ocipy.init import mounts as init_mounts
from ocipy.linux import _kernel
from ocipy.plan import build, capabilities, masks, mounts
from ocipy.plan import exec as exec_plan
from ocipy.plan.device_rules import given_rules
from ocipy.systemd import dbus
from tests.unit.documents import real_configs

if TYPE_CHECKING:
    from ocipy.cgroups.devices import Rule
    from ocipy.config.types import Config

TOP = Path(__file__).resolve().parents[3]
# Each is called once, or a few times, by a command.
HOT = (
    arguments.parse, check.check, semantic.errors, build.build, mounts.plan_sources, exec_plan.build,
    dbus.call, dbus.read, mount_options.MountOptions.__init__, masks.MASKS.compute, device_program.PROGRAMS.compute,
    devices.V1List.apply, init_devices.device, lookup.find, init_masks.mask, init_mounts.make_filesystem, paths.make,
)  # fmt: skip


def specialized(function: FunctionType) -> int:
    """How many instructions the interpreter has replaced by variants for what it met (PEP 659)."""
    plain, now = (list(dis.get_instructions(function, adaptive=adaptive)) for adaptive in (False, True))
    return sum(1 for before, after in zip(plain, now, strict=True) if before.opname != after.opname)


@pytest.mark.parametrize("function", HOT, ids=lambda function: f"{function.__module__}.{function.__qualname__}")
def test_hot_functions_are_specialized(function: FunctionType) -> None:
    practice.practise()
    assert specialized(function) > 5


@pytest.mark.parametrize("name", ["docker", "podman", "template", "rootless-template"])
def test_the_mount_options_of_engines_are_at_hand(name: str) -> None:
    practice.practise()
    lists = [mount.get("options") or () for mount in real_configs()[name]["mounts"]]
    assert [words for words in lists if tuple(words) not in mount_options.OPTIONS] == []


@pytest.mark.parametrize("name", ["docker", "podman", "template"])
def test_the_paths_and_capabilities_of_engines_are_at_hand(name: str) -> None:
    practice.practise()
    config = real_configs()[name]
    linux = config["linux"]
    assert (tuple(linux["maskedPaths"]), "") in masks.MASKS
    assert tuple(linux["readonlyPaths"]) in masks.READONLY
    sets = config["process"]["capabilities"].values()
    assert [names for names in sets if tuple(names) not in capabilities.BITS] == []


@pytest.mark.parametrize("rules", practice.DEVICE_RULES)
def test_the_device_rules_of_engines_are_at_hand(rules: tuple[Rule, ...]) -> None:
    practice.practise()
    assert effective((DENY_ALL, *rules, *DEFAULT_RULES)) == (False, [*rules, *DEFAULT_RULES])
    assert (False, (*rules, *DEFAULT_RULES)) in device_program.PROGRAMS


@pytest.mark.parametrize("rules", practice.DEVICE_RULES)
def test_the_changes_to_device_lists_are_at_hand(rules: tuple[Rule, ...]) -> None:
    """On cgroup v1: those from a list that allows everything, which a container's cgroup inherits."""
    practice.practise()
    assert ("a *:* rwm\n", (DENY_ALL, *rules, *DEFAULT_RULES)) in devices.CHANGES
    assert (DENY_ALL, *rules, *DEFAULT_RULES) in {applied for _, applied in devices.APPLIED}


@pytest.mark.parametrize("name", ["docker", "podman", "template"])
def test_engines_deny_everything_first(name: str) -> None:
    assert given_rules(cast("Config", real_configs()[name]))[0] == DENY_ALL


@pytest.mark.parametrize("command", COMMANDS)
def test_the_flags_of_hot_commands_are_at_hand(command: str) -> None:
    """As ocipy/cli/main.py looks them up."""
    practice.practise()
    assert (*load_command(command).FLAGS, arguments.HELP) in arguments.TABLES


def test_practice_imports_and_opens_nothing() -> None:
    """The modules of a snapshot are those that its maker chose; what it opens, every process would believe open."""
    script = """
import sys
from ocipy.cli import cold, practice
for name in cold.MODULES:
    __import__(name)
practice.practise()  # the first time, commands are imported
seen, heard = set(sys.modules), []
sys.addaudithook(lambda event, _: heard.append(event) if event in ("open", "import", "os.listdir") else None)
practice.practise()
print(sorted(set(sys.modules) - seen), heard)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[] []\n", "")


def test_each_step_of_init_gets_the_answers_that_it_needs() -> None:
    practice.practise_init_lanes()


def test_a_step_that_does_not_leaves_commands_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("an answer")

    monkeypatch.setattr("ocipy.cli.practice_init.SeemingKernel", fail)
    practice.practise()


def test_the_kernel_is_itself_again() -> None:
    before = [dict(vars(module)) for module in (posix, _kernel)]
    practice.practise()
    assert [dict(vars(module)) for module in (posix, _kernel)] == before

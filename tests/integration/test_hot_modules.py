"""Compares the modules that the hot commands have loaded at their end with the list of allowed top-level imports.

They run under an ordinary interpreter without site, because the executable cannot be asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.launcher import freeze
from tests.harness import Bundle
from tests.unit import hot

pytestmark = pytest.mark.ocipy_only(reason="its own modules")

TOP = Path(__file__).resolve().parents[2]
# The test's own imports come first, and do not count.
SCRIPT = """
import sys
top, answer, *argv = sys.argv[1:]
sys.path.insert(0, top)
before = set(sys.modules)
from ocipy.cli.main import main
status = main(["ocipy", *argv])
loaded = set(sys.modules) - before
import json
with open(answer, "w") as file:
    json.dump([status, sorted(loaded)], file)
import os
os._exit(0)
"""


# Additional modules of create and run for an ordinary container's plan.
PLANNED = set(
    """
    ocipy.cgroups.creation ocipy.cgroups.device_filter ocipy.cgroups.device_program ocipy.cgroups.paths
    ocipy.host.cgroup ocipy.host.namespaces ocipy.init.rlimits ocipy.init.capabilities ocipy.init.cgroup_enter
    ocipy.init.cgroup_mount ocipy.init.context ocipy.init.copy_up ocipy.init.devices ocipy.init.identity
    ocipy.init.keyring ocipy.init.lookup ocipy.init.masks ocipy.init.mounts ocipy.init.namespaces ocipy.init.paths
    ocipy.init.process ocipy.init.rootfs ocipy.init.uts ocipy.init.loopback ocipy.init.waiting ocipy.host.process
    ocipy.host.waiting
    """.split()
)
# Modules that delete loads to remove the cgroup.
REMOVED = {"ocipy.cgroups.cgroup", "ocipy.cgroups.ending"}
PLANNED |= REMOVED
# What looks after a silent init: on a busy machine 100 ms may pass without a word from it.
SILENT = {"ocipy.host.held_up"}
ON_DEMAND: dict[str, set[str]] = {
    "create": PLANNED | SILENT,
    "run": PLANNED | SILENT,
    "start": SILENT,
    "delete": REMOVED,
}


def loaded_by(work: Path, *words: str) -> set[str]:
    """The modules that a command has loaded; it must have succeeded."""
    answer = work / "loaded.json"
    command = [sys.executable, "-I", "-S", "-c", SCRIPT, str(TOP), str(answer), "--root", str(work / "root"), *words]
    with (work / "output").open("w+") as output:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, timeout=60)
        assert answer.exists(), (work / "output").read_text()
    status, modules = json.loads(answer.read_text())
    answer.unlink()
    assert status == 0, (work / "output").read_text()
    return set(modules) - {"__future__"}  # freezing drops it


def test_hot_commands_load_what_is_listed_and_nothing_of_the_standard_library(
    work: Path, bundle: Bundle, new_id: Callable[[], str]
) -> None:
    place, name, other = str(bundle.args("/bin/sleep", "60").write().parent), new_id(), new_id()
    sources = freeze.read_sources(hot.PACKAGE)
    frozen = sources.keys() - freeze.obstacles(sources).keys()
    loaded = {
        "create": loaded_by(work, "create", "--bundle", place, name),
        "state": loaded_by(work, "state", name),
        "start": loaded_by(work, "start", name),
        "ps": loaded_by(work, "ps", "--format", "json", name),
        "list": loaded_by(work, "list"),
        "update": loaded_by(work, "update", "--pids-limit", "50", name),
        "pause": loaded_by(work, "pause", name),
        "resume": loaded_by(work, "resume", name),
        "kill": loaded_by(work, "kill", name, "KILL"),
        "delete": loaded_by(work, "delete", "--force", name),
        "run": loaded_by(work, "run", "--bundle", str(bundle.args("/bin/true").write().parent), other),
    }
    for command, modules in loaded.items():
        assert {name for name in modules if not name.startswith("ocipy")} - freeze.BUILT_IN == set(), command
        later = modules - hot.listed()[command]
        assert later - ON_DEMAND.get(command, set()) == set(), command
        assert later <= frozen

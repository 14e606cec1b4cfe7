"""The benchmark's clean-up of the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import runtime_path
from tests.harness.host import scaled, wait_until

TOP = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from bench import cli, ending
from bench.runtimes import Contestant
from conformance.host import become_subreaper
ending.on_signals()
become_subreaper()
with cli._bench() as bench:
    print(bench.scratch, bench.state)
    ours = Contestant("ours", sys.argv[2])
    for start in (False, True):
        name = bench.new_id()
        bench.create(ours, name)
        if start:
            bench.call(ours, "start", name)
        print(bench.init_of(ours, name)[0], flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
"""


def cgroups(pid: int) -> list[Path]:
    """The benchmark's cgroups."""
    folders = [Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup")]
    return [folder for folder in folders if f"bench-{pid}" in folder.name]


def test_a_signal_leaves_no_container_no_cgroup_and_no_file() -> None:
    command = [sys.executable, "-c", SCRIPT, str(TOP), runtime_path()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 143, errors
    places, *pids = said.strip().split("\n")
    assert len(pids) == 2
    assert not [path for path in places.split() if os.path.exists(path)]
    wait_until(lambda: not [pid for pid in pids if os.path.exists(f"/proc/{pid}")], "the containers have ended")
    assert cgroups(process.pid) == []

"""A container's memory: that of a waiting init, and the smallest limit under which `true` runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bench.measure import Bench, CallError
from bench.runtimes import Contestant

KIB = 1024
# The limits to try, in bytes, each a quarter above the last.
SMALLEST, LARGEST, STEP = 128 * KIB, 64 * KIB * KIB, 1.25


def pss(pid: int) -> int:
    """The proportional set size of a process in KiB: proc_pid_smaps(5), smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def private_dirty(pid: int) -> int:
    """The pages of a process that it has written to, and shares with nobody, in KiB: proc_pid_smaps(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


def waiting_init(bench: Bench, contestant: Contestant) -> tuple[int, int]:
    """The Pss of an init that waits for start, and its private dirty memory, in KiB. No second one shares its pages."""
    container = bench.new_id()
    bench.create(contestant, container)
    try:
        init, _ = bench.init_of(contestant, container)
        found = pss(init), private_dirty(init)
    finally:
        bench.call(contestant, "delete", "--force", container)
    try:
        os.waitpid(init, 0)
    except ChildProcessError:  # the runtime has reaped it
        pass
    return found


def smallest_limit(bench: Bench, contestant: Contestant) -> int:
    """The smallest linux.resources.memory.limit, in KiB, with which `run true` succeeds three times."""
    limit = SMALLEST
    while limit <= LARGEST:
        if _runs(bench, contestant, limit):
            return limit // KIB
        limit = int(limit * STEP) // 4096 * 4096
    raise CallError(f"{contestant.name}: `run true` fails even with a limit of {LARGEST} bytes")


def _runs(bench: Bench, contestant: Contestant, limit: int) -> bool:
    bundle = bench.scratch / "limited"
    config = json.loads((bench.run_bundle / "config.json").read_text())
    config["linux"]["resources"]["memory"] = {"limit": limit}
    config["root"]["path"] = str(bench.run_bundle / "rootfs")
    bundle.mkdir(exist_ok=True)
    (bundle / "config.json").write_text(json.dumps(config))
    try:
        for _ in range(3):
            container = bench.new_id()
            bench.call(contestant, "run", "--bundle", str(bundle), container)
    except CallError:
        bench.call(contestant, "delete", "--force", container)
        return False
    return True

"""Many creates at the same time: how long until the last one is done."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from bench.measure import Bench, CallError, environment
from bench.runtimes import Contestant

SIZE = 50
ROUNDS = 5
SETTLE = 0.5  # seconds: the kernel removes the last round's cgroups in the background


def measure_burst(
    bench: Bench, contestants: list[Contestant], tell: Callable[[str], None], size: int = SIZE
) -> dict[str, float]:
    """Return the median of several rounds for each runtime, in ms. Raises CallError if a create fails."""
    times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(-1, ROUNDS):
        turn = number % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            names = [bench.new_id() for _ in range(size)]
            milliseconds = _create(bench, contestant, names)
            if number >= 0:
                times[contestant.name].append(milliseconds)
        tell(f"{size} creates at once, round {number + 1} of {ROUNDS}")
    return {name: statistics.median(values) for name, values in times.items()}


def _create(bench: Bench, contestant: Contestant, names: list[str]) -> float:
    silent = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]
    commands = [bench.command(contestant, "create", "--bundle", str(bench.sleep_bundle), name) for name in names]
    began = time.perf_counter_ns()
    pids = [os.posix_spawn(command[0], command, environment(), file_actions=silent) for command in commands]
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    ended = time.perf_counter_ns()
    failed = sum(1 for status in statuses if status)
    for name in names:
        bench.call(contestant, "delete", "--force", name)
    bench.reap()
    time.sleep(SETTLE)
    if failed:
        raise CallError(f"{contestant.name}: {failed} of {len(names)} creates at once failed")
    return (ended - began) / 1e6

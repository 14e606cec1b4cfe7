"""Many containers at once: what `list` takes, and `create` beside them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import Bench
from bench.runtimes import Contestant

TIMES = 25
WARM_UP = 15
# After a delete the kernel goes on for some ms, and holds the lock that all changes of cgroups take: it unhooks the
# memory cgroup from every filesystem there is. That is no part of the next create.
SETTLE = 0.25  # seconds


@dataclass(frozen=True)
class Crowd:
    """Medians in ms: `create` alone before and after, and beside so many others, and `list` of them all.

    Alone twice, as a control: what a thousand containers do to the host's memory stays when they have gone.
    """

    size: int
    alone_before: float
    create_beside: float
    alone_after: float
    list_all: float


def measure_crowd(bench: Bench, contestant: Contestant, size: int, tell: Callable[[str], None]) -> Crowd:
    """Make so many containers that wait for start, measure, and remove them."""
    made: list[str] = []
    before = _creates(bench, contestant)
    try:
        for number in range(size):
            made.append(bench.new_id())
            bench.create(contestant, made[-1])
            if number % 50 == 49:
                tell(f"{contestant.name}: {number + 1} of {size} containers")
        beside = _creates(bench, contestant)
        listed = statistics.median(bench.call(contestant, "list", "--quiet") for _ in range(TIMES))
        found = len(bench.out.read_text().split())
        assert found == size, f"{contestant.name} lists {found} of {size} containers"
    finally:
        for container in made:
            bench.call(contestant, "delete", "--force", container)
        _reap()
    return Crowd(size, before, beside, _creates(bench, contestant), listed)


def _creates(bench: Bench, contestant: Contestant) -> float:
    """The median. The first ones are not counted: in a virtual machine new memory has to come from the host."""
    times = []
    for _ in range(WARM_UP + TIMES):
        container = bench.new_id()
        times.append(bench.create(contestant, container))
        bench.call(contestant, "delete", "--force", container)
        _reap()
        time.sleep(SETTLE)
    return statistics.median(times[WARM_UP:])


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

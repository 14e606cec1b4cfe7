"""Many containers at once: what `list` takes, and `create` beside them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import Bench
from bench.runtimes import Contestant

ROUNDS = 3
TIMES = 30
# The first creates are not counted: in a virtual machine new memory has to come from the host.
WARM_UP = 8
# After a delete the kernel goes on for some ms, and holds the lock that all changes of cgroups take: it unhooks the
# memory cgroup from every filesystem there is. That is no part of the next create.
SETTLE = 0.25  # seconds


@dataclass(frozen=True)
class Pace:
    """Medians in ms of `create`, and of a `state` before and after each: how fast the machine was in those seconds."""

    create: float
    state: float


@dataclass(frozen=True)
class Crowd:
    """Rounds of `create` alone and beside so many others, each with a crowd of its own, and `list` of it in ms."""

    size: int
    rounds: list[tuple[Pace, Pace]]
    list_all: float

    def medians(self, which: int) -> Pace:
        """Of all rounds. which: 0 alone, 1 beside the others."""
        paces = [pair[which] for pair in self.rounds]
        return Pace(statistics.median(pace.create for pace in paces), statistics.median(pace.state for pace in paces))

    @property
    def growth(self) -> float:
        """`create` beside the others over `create` alone, both in the `state` calls of the same seconds: between the
        two lies the minute in which the crowd is made, and a machine's speed changes by more than a container costs."""
        return statistics.median(
            (beside.create / beside.state) / (alone.create / alone.state) for alone, beside in self.rounds
        )


def measure_crowd(bench: Bench, contestant: Contestant, size: int, tell: Callable[[str], None]) -> Crowd:
    """Make so many containers that wait for start, measure, and remove them, some times over."""
    rounds: list[tuple[Pace, Pace]] = []
    lists: list[float] = []
    for number in range(ROUNDS):
        title = f"{contestant.name}, crowd {number + 1} of {ROUNDS}"
        made: list[str] = []
        alone = _pace(bench, contestant)
        try:
            for _ in range(size):
                made.append(bench.new_id())
                bench.create(contestant, made[-1])
                if len(made) % 50 == 0:
                    tell(f"{title}: {len(made)} of {size} containers")
            rounds.append((alone, _pace(bench, contestant)))
            lists += [bench.call(contestant, "list", "--quiet") for _ in range(TIMES)]
            found = len(bench.out.read_text().split())
            assert found == size, f"{contestant.name} lists {found} of {size} containers"
        finally:
            for container in made:
                bench.call(contestant, "delete", "--force", container)
            _reap()
    return Crowd(size, rounds, statistics.median(lists))


def _pace(bench: Bench, contestant: Contestant) -> Pace:
    creates: list[float] = []
    states: list[float] = []
    reference = bench.new_id()
    bench.create(contestant, reference)
    try:
        for number in range(WARM_UP + TIMES):
            container = bench.new_id()
            before = bench.call(contestant, "state", reference)
            create = bench.create(contestant, container)
            after = bench.call(contestant, "state", reference)
            bench.call(contestant, "delete", "--force", container)
            _reap()
            time.sleep(SETTLE)
            if number >= WARM_UP:
                creates.append(create)
                states += [before, after]
    finally:
        bench.call(contestant, "delete", "--force", reference)
        _reap()
    return Pace(statistics.median(creates), statistics.median(states))


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

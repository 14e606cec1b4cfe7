"""Many containers at once: the time of `list`, and of `create` among them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import Bench, CallError
from bench.runtimes import Contestant

ROUNDS = 3
TIMES = 30
# The first creates do not count: a virtual machine gets new memory from its host.
WARM_UP = 8
# After a delete the kernel holds the lock for cgroup changes for some more ms: it detaches the memory cgroup from
# every filesystem. The next create must not pay for that.
SETTLE = 0.25  # seconds


@dataclass(frozen=True)
class Pace:
    """Medians in ms of `create`, and of a `state` before and after each, which shows the machine's speed then."""

    create: float
    state: float


@dataclass(frozen=True)
class Crowd:
    """Rounds of `create` alone and among so many others, each with a new crowd, and its `list`, in ms."""

    size: int
    rounds: list[tuple[Pace, Pace]]
    list_all: float

    def medians(self, which: int) -> Pace:
        """Over all rounds. which: 0 alone, 1 in the crowd."""
        paces = [pair[which] for pair in self.rounds]
        return Pace(statistics.median(pace.create for pace in paces), statistics.median(pace.state for pace in paces))

    @property
    def growth(self) -> float:
        """The ratio of `create` in the crowd to `create` alone, each measured in `state` calls of the same seconds. The
        crowd takes a minute to make, in which the machine's speed changes by more than a container costs."""
        return statistics.median(
            (crowded.create / crowded.state) / (alone.create / alone.state) for alone, crowded in self.rounds
        )


def measure_crowd(bench: Bench, contestant: Contestant, size: int, tell: Callable[[str], None]) -> Crowd:
    """Create so many containers, measure, and remove them, several times."""
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
            if found != size:
                raise CallError(f"{contestant.name} lists {found} of {size} containers")
        finally:
            for container in made:
                bench.call(contestant, "delete", "--force", container)
            bench.reap()
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
            bench.reap()
            time.sleep(SETTLE)
            if number >= WARM_UP:
                creates.append(create)
                states += [before, after]
    finally:
        bench.call(contestant, "delete", "--force", reference)
        bench.reap()
    return Pace(statistics.median(creates), statistics.median(states))

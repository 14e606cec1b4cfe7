"""Recording the times of one command: of its phases, and of the steps of both lanes.

The clock is CLOCK_MONOTONIC in both processes. Init writes its times into memory shared with the host's process: no
descriptor and no path leads to it, and its exec unmaps it. A process that has taken over init can write only numbers
there.
"""

from __future__ import annotations

import posix
import time

from ocipy.linux import _kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ocipy.plan.model import HostStep, InitStep, Run, Step

# The number of 64-bit values per step of the init lane in the shared memory.
BEGIN, END, DONE, SIZE = 0, 1, 2, 3

SECOND = 1_000_000_000
clock = _kernel.monotonic_ns


class Trace:
    """A command's trace in progress.

    began: of the process, in ns of CLOCK_MONOTONIC; entered: of the command. events: (name, begin, end, arguments) of
    the phases. steps: (step, begin, end, done) of the host lane. times: written by init, SIZE numbers per step.
    """

    __slots__ = ("began", "command", "entered", "events", "path", "run", "steps", "times")

    def __init__(self, path: str, command: str) -> None:
        self.path = path
        self.command = command
        self.entered = clock()
        self.began = process_began(self.entered)
        self.events: list[tuple[str, int, int, dict[str, Any]]] = []
        self.steps: list[tuple[Step, int, int, bool]] = []
        self.run: Run | None = None
        self.times: memoryview | None = None

    def phase(self, name: str) -> _Phase:
        """A context manager that times the phase."""
        return _Phase(self.events, name)

    def host_lane(self, run: Run) -> Iterator[HostStep]:
        """The steps of the host lane. Maps the memory for those of init, which is not cloned yet."""
        self.run = run
        self.times = _kernel.shared_memory(8 * SIZE * max(1, len(run.plan.init))).cast("Q")
        for step in run.plan.host:
            begin = clock()
            done = False
            # A failing step ends the loop, and so closes this generator.
            try:
                yield step
                done = True
            finally:
                self.steps.append((step, begin, clock(), done))

    def init_lane(self, steps: Sequence[InitStep]) -> Iterator[InitStep]:
        """The steps of the init lane, inside the init process."""
        times = self.times
        assert times is not None
        at = 0
        for step in steps:
            times[at + BEGIN] = clock()
            try:
                yield step
                times[at + DONE] = 1
            finally:
                times[at + END] = clock()
            at += SIZE


class _Phase:
    """Adds an event when its block ends."""

    __slots__ = ("begin", "events", "name")

    def __init__(self, events: list[tuple[str, int, int, dict[str, Any]]], name: str) -> None:
        self.events = events
        self.name = name

    def __enter__(self) -> None:
        self.begin = clock()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        arguments = {"error": str(error)} if isinstance(error, Exception) else {}
        self.events.append((self.name, self.begin, clock(), arguments))


def process_began(moment: int) -> int:
    """Return when this process began, in ns of CLOCK_MONOTONIC; moment: now.

    The kernel reports it in ticks of 10 ms (proc(5), field 22 of stat). Within a tick, the time spent running and
    waiting for a processor is more exact: so far, the process has hardly waited for anything else.
    """
    from ocipy.linux.files import read_file
    from ocipy.linux.text import words_of
    from ocipy.state.state import process_start

    tick = SECOND // posix.sysconf("SC_CLK_TCK")
    # The field counts from boot, including time in suspend.
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - clock()
    least = process_start(posix.getpid()) * tick - asleep
    try:
        used = sum(map(int, words_of(read_file("/proc/self/schedstat"))[:2]))
    except (OSError, ValueError):  # a kernel without CONFIG_SCHED_INFO
        used = time.process_time_ns()
    return max(least, min(moment - used, least + tick))

"""--debug: log the steps of both lanes as they are carried out (docs/errors.md). Imported on request only.

Init logs nothing itself: after its pivot a host path leads into the container. It counts its steps in memory shared
with the host's process, which logs them after each wait, and at the end.
"""

from __future__ import annotations

from ocipy import log
from ocipy.linux import _kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ocipy.plan.model import HostStep, InitStep, Onlooker, Run, Step


class Narrator:
    """An onlooker that wraps another one. begun: how many steps init has begun; told: how many of them are logged."""

    __slots__ = ("begun", "other", "told")

    def __init__(self, other: Onlooker | None) -> None:
        self.other = other
        self.begun = _kernel.shared_memory(8).cast("Q")
        self.told = 0

    def host_lane(self, run: Run) -> Iterator[HostStep]:
        """The steps of the host lane."""
        steps = run.plan.host if self.other is None else self.other.host_lane(run)
        try:
            for step in steps:
                self._tell_init(run.plan.init)
                self._tell("host", step)
                yield step
        finally:
            self._tell_init(run.plan.init)

    def init_lane(self, steps: Sequence[InitStep]) -> Iterator[InitStep]:
        """The steps of the init lane, inside the init process."""
        number = 0
        for step in steps if self.other is None else self.other.init_lane(steps):
            number += 1
            self.begun[0] = number
            yield step

    def _tell_init(self, steps: Sequence[Step]) -> None:
        begun = min(self.begun[0], len(steps))
        for step in steps[self.told : begun]:
            self._tell("init", step)
        self.told = max(self.told, begun)

    def _tell(self, lane: str, step: Step) -> None:
        parts = (lane, step.action, step.describe(), step.pointer)
        log.debug(" ".join(part for part in parts if part))

"""`box stats` and `box top`: what the running boxes use."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ocipy.box.box import Box
from ocipy.box.boxes import Boxes
from ocipy.box.cgroup import usage
from ocipy.box.sizes import shown_size

HEADING = ("NAME", "CPU %", "MEMORY", "LIMIT", "PEAK", "PROCESSES", "THROTTLED", "OOM KILLS")
MICROSECONDS = 1_000_000


def rows(boxes: Sequence[Box], seconds: float) -> list[tuple[str, ...]]:
    """The heading, then a row for each running box. seconds: how long to measure CPU time."""
    before = {box.id: usage(box.cgroup())["cpuMicroseconds"] or 0 for box in boxes}
    begun = time.monotonic()
    time.sleep(seconds)
    made: list[tuple[str, ...]] = [HEADING]
    for box in boxes:
        now = usage(box.cgroup())
        took = (now["cpuMicroseconds"] or 0) - before[box.id]
        share = 100 * took / MICROSECONDS / (time.monotonic() - begun)
        made.append(
            (
                box.record.name,
                f"{max(share, 0):.1f}",
                _size(now["memory"]),
                _size(now["memoryLimit"]),
                _size(now["memoryPeak"]),
                str(now["processes"] if now["processes"] is not None else "-"),
                f"{(now['throttledMicroseconds'] or 0) / MICROSECONDS:.1f} s",
                str(now["oomKills"] if now["oomKills"] is not None else "-"),
            )
        )
    return made


def running(boxes: Boxes, names: Sequence[str]) -> list[Box]:
    """These boxes, or all that run."""
    return [boxes.find(name) for name in names] or [box for box in boxes.all() if box.is_running()]


def _size(size: int | None) -> str:
    return "-" if size is None else shown_size(size)

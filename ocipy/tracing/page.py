"""A trace as a page: the same lanes, with the duration of each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocipy.picture.page import html
from ocipy.picture.rows import Box, Picture, box_of, laid_out

if TYPE_CHECKING:
    from ocipy.plan.model import Step
    from ocipy.tracing.format import Timed
    from ocipy.tracing.record import Trace

NANOSECONDS = 1e6  # in a millisecond


def page_of(trace: Trace, init: list[Timed], status: int, end: int) -> str:
    """Return the page. init: from format.init_steps; end: of the command, in ns."""
    boxes = [_box("host", number, *step, trace.entered) for number, step in enumerate(trace.steps, 1)]
    for number, (step, begin, until, arguments) in enumerate(init, 1):
        boxes.append(_box("init", number, step, begin, until, "failed" not in arguments, trace.entered))
    took = (end - trace.began) / NANOSECONDS
    title = f"ocipy {trace.command}: {took:.1f} ms, exit status {status}"
    return html(laid_out(Picture(title, boxes, trace.run.config if trace.run is not None else None)))


def _box(lane: str, number: int, step: Step, begin: int, until: int, done: bool, entered: int) -> Box:
    box = box_of(lane, number, step)
    box.begin, box.milliseconds = (begin - entered) / NANOSECONDS, (until - begin) / NANOSECONDS
    box.failed = not done
    return box

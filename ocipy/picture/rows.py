"""The content and layout of a page. A step's row is below everything that it waits for. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocipy.plan.describe import LANES
from ocipy.plan.model import Plan, Step


@dataclass(slots=True)
class Box:
    """One step. begin, milliseconds: from a trace, begin in ms since the command began; None in a plan. row: in the
    grid, starting at 1. failed: the last step that its lane reached. tells, awaits: see plan.model.Step."""

    lane: str
    number: int
    action: str
    words: str
    pointer: str
    arguments: Mapping[str, Any]
    begin: float | None = None
    milliseconds: float | None = None
    failed: bool = False
    row: int = 0
    tells: str = ""
    awaits: str = ""

    @property
    def barrier(self) -> bool:
        """Whether it only tells or waits."""
        return self.action in ("tell", "wait")


@dataclass(slots=True)
class Picture:
    """arrows: from a step that tells something to the step in the other lane that awaits it, by the boxes' ids."""

    title: str
    boxes: list[Box]
    config: object = None
    warnings: Sequence[tuple[str, str]] = ()
    arrows: list[tuple[str, str, str]] = field(default_factory=list)


def of_plan(plan: Plan, title: str, config: object) -> Picture:
    """The picture of a plan."""
    boxes = [box_of(lane, number, step) for lane, steps in lanes_of(plan) for number, step in enumerate(steps, 1)]
    return laid_out(Picture(title, boxes, config, tuple(plan.warnings)))


def lanes_of(plan: Plan) -> list[tuple[str, Sequence[Step]]]:
    """The steps of each lane, by its name."""
    return list(zip(LANES, (plan.host, plan.init), strict=True))


def box_of(lane: str, number: int, step: Step) -> Box:
    """A step as a box, not yet placed."""
    return Box(
        lane, number, step.action, step.describe(), step.pointer, vars(step), tells=step.tells, awaits=step.awaits
    )


def laid_out(picture: Picture) -> Picture:
    """Assign rows and arrows. Each lane runs down the page; a step is below the one that it awaits."""
    lanes = {lane: [box for box in picture.boxes if box.lane == lane] for lane in LANES}
    told = {(box.lane, box.tells): box for box in picture.boxes if box.tells}
    place = dict.fromkeys(LANES, 0)
    last = dict.fromkeys(LANES, 0)
    # The init lane begins with the clone.
    last["init"] = next((box.number for box in lanes["host"] if box.action.startswith("clone")), 0)
    while any(place[lane] < len(lanes[lane]) for lane in LANES):
        moved = False
        for lane in LANES:
            while place[lane] < len(lanes[lane]):
                box = lanes[lane][place[lane]]
                teller = told.get((other_lane(lane), box.awaits))
                if teller is not None and not teller.row:
                    break
                last[lane] = box.row = max(last[lane], teller.row if teller is not None else 0) + 1
                place[lane] += 1
                moved = True
                if teller is not None:
                    picture.arrows.append((id_of(teller), id_of(box), box.awaits))
        if not moved:  # a deadlock: such a plan cannot be executed, but is shown
            for lane in LANES:
                for box in lanes[lane][place[lane] :]:
                    last[lane] = box.row = last[lane] + 1
                place[lane] = len(lanes[lane])
    return picture


def other_lane(lane: str) -> str:
    """The lane that this one waits for."""
    return LANES[1 - LANES.index(lane)]


def id_of(box: Box) -> str:
    """The box's id in the page."""
    return f"{box.lane}-{box.number}"


def document_lines(document: object) -> Iterator[tuple[str, str]]:
    """(JSON pointer, text) of each line of a document, indented by two as `ocipy spec` writes it (RFC 6901)."""
    yield from _lines(document, "", "", "", "")


def _lines(value: object, pointer: str, indent: str, name: str, comma: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        yield pointer, f"{indent}{name}{{"
        yield from _members(
            [
                (f"{pointer}/{_escape(str(key))}", f"{json.dumps(str(key), ensure_ascii=False)}: ", one)
                for key, one in value.items()
            ],
            indent,
        )
        yield pointer, f"{indent}}}{comma}"
    elif isinstance(value, list | tuple) and value:
        yield pointer, f"{indent}{name}["
        yield from _members([(f"{pointer}/{index}", "", one) for index, one in enumerate(value)], indent)
        yield pointer, f"{indent}]{comma}"
    else:
        yield pointer, f"{indent}{name}{json.dumps(value, ensure_ascii=False)}{comma}"


def _members(members: Sequence[tuple[str, str, object]], indent: str) -> Iterator[tuple[str, str]]:
    for index, (pointer, name, value) in enumerate(members):
        yield from _lines(value, pointer, indent + "  ", name, "," if index + 1 < len(members) else "")


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")

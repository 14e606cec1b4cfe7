"""A plan as text and as JSON. Cold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ocipy.errors import printable
from ocipy.plan.model import Plan, Step

LANES = ("host", "init")
WORDS_WIDTH = 72


def selected(plan: Plan, only: str) -> list[tuple[str, int, Step]]:
    """Return (lane, number from 1 upwards, step) of the steps requested by the field with the JSON pointer `only`, or
    by one below it; of all steps if `only` is ""."""
    found = []
    lanes: tuple[Sequence[Step], Sequence[Step]] = (plan.host, plan.init)
    for lane, steps in zip(LANES, lanes, strict=True):
        for number, step in enumerate(steps, 1):
            if concerns(step.pointer, only):
                found.append((lane, number, step))
    return found


def concerns(pointer: str, only: str) -> bool:
    """Whether `pointer` is `only` or below it; everything is below ""."""
    only = only.rstrip("/")
    return not only or pointer == only or pointer.startswith(only + "/")


def as_text(plan: Plan, only: str = "") -> str:
    """Return one line per step: lane, number, action, words, pointer; then the warnings."""
    steps = selected(plan, only)
    action_width = max((len(step.action) for _, _, step in steps), default=0)
    words = [printable(step.describe()) for _, _, step in steps]
    words_width = min(max(map(len, words), default=0), WORDS_WIDTH)
    lines = []
    for (lane, number, step), text in zip(steps, words, strict=True):
        line = f"{lane}  {number:>3}  {step.action:<{action_width}}  {text:<{words_width}}  {printable(step.pointer)}"
        lines.append(line.rstrip())
    for pointer, text in plan.warnings:
        if concerns(pointer, only):
            lines.append(f"warning: {printable(pointer)}: {printable(text)}")
    return "".join(line + "\n" for line in lines)


def as_json(plan: Plan, only: str = "") -> str:
    """Return the same as a JSON document: the lists "host" and "init" of steps, and "warnings"."""
    document: dict[str, Any] = {lane: [] for lane in LANES}
    for lane, number, step in selected(plan, only):
        document[lane].append(
            {
                "number": number,
                "action": step.action,
                "pointer": step.pointer,
                "description": step.describe(),
                "arguments": vars(step),
            }
        )
    document["warnings"] = [
        {"pointer": pointer, "text": text} for pointer, text in plan.warnings if concerns(pointer, only)
    ]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

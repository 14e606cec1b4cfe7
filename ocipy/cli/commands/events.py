"""ocipy events: statistics of a container, and its OOM kills. Cold."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ocipy.cli.arguments import Arguments, Flag
from ocipy.errors import Error, reported_as
from ocipy.operations.events import stats, watch
from ocipy.state.state import load

SUMMARY = "print a container's statistics and out-of-memory kills"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = (
    Flag("interval", "text", "time between statistics, such as 500ms, 5s or 1m", metavar="TIME", default="5s"),
    Flag("stats", "switch", "print the statistics once"),
)

SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def run(arguments: Arguments) -> int:
    """Print one JSON document per line until the container ends or the reader has gone."""
    container_id = arguments.one("the container's ID")
    interval = duration(arguments.text("interval"))
    state = load(arguments.root, container_id)
    if state.status() not in ("created", "running", "paused"):
        raise Error(f"container with id {container_id} is not running")
    if arguments.switch("stats"):
        _print(stats(state))
        return 0
    for event in watch(state, interval):
        if not _print(event):
            break
    return 0


def duration(text: str) -> float:
    """The seconds in a duration in Go's notation: 1m30s, 1.5h, 100ms. Raises Error."""
    found = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", text)
    if "".join(map("".join, found)) != text.removeprefix("+") or not found:
        raise Error(f"--interval must be a time such as 500ms, 5s or 1m30s, not {text!r}")
    seconds = sum(float(value) * SECONDS[unit] for value, unit in found)
    if seconds <= 0:
        raise Error("duration interval must be greater than 0")
    return seconds


def _print(event: dict[str, Any]) -> bool:
    """Returns False if nobody reads standard output any more."""
    data = (json.dumps(event, separators=(",", ":")) + "\n").encode()
    with reported_as("cannot write to standard output"):
        try:
            while data:
                data = data[os.write(1, data) :]
        except BrokenPipeError:
            return False
    return True

"""The other measurements of `bench/run --all`: memory, many containers, podman. Each has its bar."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench import ending
from bench.burst import SIZE, measure_burst
from bench.criu_share import measure_share
from bench.crowd import Crowd, measure_crowd
from bench.engine import Podman
from bench.measure import Bench, CallError
from bench.runtimes import Contestant, MissingError
from bench.weight import smallest_limit, waiting_init

PODMAN_ROUNDS = 12


@dataclass(frozen=True)
class Line:
    """One figure of each runtime. bar: the highest allowed ratio to the base's, or None. alone: the bar applies instead
    to our figure itself. base: if it is not the table's. failure: why there are no figures."""

    title: str
    unit: str
    values: dict[str, float]
    bar: float | None
    alone: bool = False
    base: str = ""
    failure: str = ""


Measurement = Callable[[], list[Line]]


def attempted(title: str, measurement: Measurement) -> list[Line]:
    """The lines of a measurement, or a single line that says why it failed, so that the others still run."""
    try:
        return measurement()
    except (MissingError, CallError, OSError, subprocess.CalledProcessError) as error:
        ending.check()
        return [Line(title, "", {}, None, failure=" ".join(str(error).split()))]


def measure_besides(
    bench: Bench, contestants: list[Contestant], base: str, size: int, tell: Callable[[str], None]
) -> list[Line]:
    """All measurements. size: how many containers make a crowd, which only ours and the base make."""
    able = [contestants[0], *(one for one in contestants[1:] if one.name == base)]

    def crowd() -> list[Line]:
        return _crowd_lines(size, {one.name: measure_crowd(bench, one, size, tell) for one in able})

    measurements: dict[str, Measurement] = {
        "a waiting init": lambda: _waiting(bench, contestants),
        "smallest limit for `true`": lambda: _limits(bench, contestants),
        "checkpoint and restore": lambda: _shares(bench, able, tell),
        "podman run": lambda: [Line("podman run", "ms", _podman(bench, contestants, tell), 1.0)],
        f"a crowd of {size}": crowd,
    }
    return [line for title, measurement in measurements.items() for line in attempted(title, measurement)]


def _waiting(bench: Bench, contestants: list[Contestant]) -> list[Line]:
    waiting = {one.name: waiting_init(bench, one) for one in contestants}
    return [
        Line("a waiting init", "KiB Pss", {name: pss for name, (pss, _) in waiting.items()}, 1.0),
        Line("a waiting init", "KiB private dirty", {name: dirty for name, (_, dirty) in waiting.items()}, 600, True),
    ]


def _limits(bench: Bench, contestants: list[Contestant]) -> list[Line]:
    limits: dict[str, float] = {one.name: smallest_limit(bench, one) for one in contestants}
    return [Line("smallest limit for `true`", "KiB", limits, 400, True)]


def _crowd_lines(size: int, crowds: dict[str, Crowd]) -> list[Line]:
    """Of a crowd: `list`; `create` alone and within it, the `state` that shows the machine's speed, and the growth."""
    lines = [Line(f"list of {size}", "ms", {name: crowd.list_all for name, crowd in crowds.items()}, None)]
    for which, place in enumerate(("alone", f"with {size} others")):
        paces = {name: crowd.medians(which) for name, crowd in crowds.items()}
        lines.append(Line(f"create {place}", "ms", {name: pace.create for name, pace in paces.items()}, None))
        lines.append(Line(f"state {place}", "ms", {name: pace.state for name, pace in paces.items()}, None))
    growths = {name: crowd.growth for name, crowd in crowds.items()}
    return [*lines, Line(f"growth of create with {size} others", "", growths, 1.1, alone=True)]


def burst_lines(bench: Bench, contestants: list[Contestant], tell: Callable[[str], None]) -> list[Line]:
    """Many creates at once, compared with the oldest crun on this host, if there is one."""
    cruns = [one.name for one in contestants if one.name.startswith("crun ")]
    title = f"{SIZE} creates at once" + (f", compared with {cruns[0]}" if cruns else "")

    def measurement() -> list[Line]:
        figures = measure_burst(bench, contestants, tell)
        return [Line(title, "ms", figures, 1.0 if cruns else None, base="".join(cruns[:1]))]

    return attempted(title, measurement)


def _shares(bench: Bench, contestants: list[Contestant], tell: Callable[[str], None]) -> list[Line]:
    shares = measure_share(bench, contestants, tell)
    return [Line(f"{command}, without criu's time", "ms", values, 1.0) for command, values in shares.items()]


def _podman(bench: Bench, contestants: list[Contestant], tell: Callable[[str], None]) -> dict[str, float]:
    podman = Podman(bench.scratch / "podman", bench.run_bundle / "rootfs")
    times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    try:
        for number in range(-1, PODMAN_ROUNDS):
            turn = number % len(contestants)
            for contestant in contestants[turn:] + contestants[:turn]:
                milliseconds = podman.run_once(contestant, bench.out)
                if number >= 0:
                    times[contestant.name].append(milliseconds)
            tell(f"podman, round {number + 1} of {PODMAN_ROUNDS}")
    finally:
        podman.remove()
        shutil.rmtree(podman.home, ignore_errors=True)
    return {name: statistics.median(values) for name, values in times.items()}


def table(lines: list[Line], names: list[str], base: str) -> str:
    """A row per figure, a column per runtime: the figure and its ratio to the base's. Below, what was not measured."""
    rows = [["", *names]]
    for line in lines:
        cells = []
        for name in names:
            value = line.values.get(name)
            compared = line.values.get(line.base or base)
            ratio = f" ({value / compared:.2f})" if value is not None and compared else ""
            cells.append("" if value is None else f"{value:.2f}{ratio}")
        if not line.failure:
            rows.append([f"{line.title} {line.unit}".strip(), *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    failures = [f"{line.title}: not measured: {line.failure}" for line in lines if line.failure]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:], *failures])


def bars(lines: list[Line], ours: str, base: str) -> list[tuple[str, float, float, bool]]:
    """(title, figure, bar, whether it is met): ratios to the base, or our figures."""
    judged = [
        (_title(line), line.values[ours] / (1 if line.alone else line.values[line.base or base]), line.bar)
        for line in lines
        if line.bar is not None
    ]
    return [(title, figure, bar, figure <= bar) for title, figure, bar in judged]


def _title(line: Line) -> str:
    return f"{line.title}, {line.unit}" if line.alone and line.unit else line.title


def document(lines: list[Line]) -> list[dict[str, Any]]:
    """For `--json`."""
    return [
        {"title": line.title, "unit": line.unit, "values": line.values, "bar": line.bar}
        | ({"failure": line.failure} if line.failure else {})
        for line in lines
    ]

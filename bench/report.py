"""The table of ratios, and the JSON document."""

from __future__ import annotations

import platform
import statistics
from typing import Any

from bench.measure import OPERATIONS, Samples

# The project's bars: the ratio of ocipy's median to runc 1.5.2's.
BARS = {"run": 0.6, "five": 0.85, "exec": 0.6}
TITLES = {"run": "run true", "five": "the five calls", "exec": "exec true"}


def median(samples: Samples, operation: str) -> float:
    """Median in ms."""
    return statistics.median(samples.times[operation])


def ratio(samples: Samples, base: Samples, operation: str) -> float:
    """The ratio of the median to that of `base`."""
    return median(samples, operation) / median(base, operation)


def table(all_samples: list[Samples], base: Samples) -> str:
    """A row per operation, a column per runtime: the median in ms and its ratio to `base`."""
    rows = [["median ms (ratio)", *(samples.contestant.name for samples in all_samples)]]
    for operation in OPERATIONS:
        cells = [f"{median(one, operation):7.2f} ({ratio(one, base, operation):.2f})" for one in all_samples]
        rows.append([TITLES.get(operation, operation), *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def bars(ours: Samples, base: Samples) -> list[tuple[str, float, float, bool]]:
    """(title, ratio, bar, whether it is met) for each bar."""
    return [
        (TITLES[operation], ratio(ours, base, operation), bar, ratio(ours, base, operation) <= bar)
        for operation, bar in BARS.items()
    ]


def document(all_samples: list[Samples], base: Samples, rounds: int) -> dict[str, Any]:
    """All figures as plain data, for `--json`."""
    return {
        "host": {"kernel": platform.release(), "machine": platform.machine()},
        "rounds": rounds,
        "base": base.contestant.name,
        "runtimes": [
            {
                "name": one.contestant.name,
                "path": one.contestant.path,
                "operations": {operation: _figures(one, base, operation) for operation in OPERATIONS},
            }
            for one in all_samples
        ],
    }


def _figures(samples: Samples, base: Samples, operation: str) -> dict[str, Any]:
    times = samples.times[operation]
    tenths = statistics.quantiles(times, n=10) if len(times) > 1 else times * 9
    return {
        "median_ms": round(median(samples, operation), 3),
        "p10_ms": round(tenths[0], 3),
        "p90_ms": round(tenths[8], 3),
        "ratio": round(ratio(samples, base, operation), 3),
        "samples_ms": [round(value, 3) for value in times],
    }

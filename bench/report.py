"""The table of ratios, and the JSON document."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from pathlib import Path
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


def tenths(times: list[float]) -> tuple[float, float]:
    """The tenth and the ninetieth percentile: of these times, not beyond them."""
    if len(times) == 1:
        return times[0], times[0]
    found = statistics.quantiles(times, n=10, method="inclusive")
    return found[0], found[8]


def host() -> dict[str, Any]:
    """The machine, its load and the date, for the record."""
    release = Path("/etc/os-release").read_text(errors="replace") if Path("/etc/os-release").exists() else ""
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', release, re.MULTILINE)
    cpu = re.search(rb"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_bytes(), re.MULTILINE)
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "system": system[1] if system else "",
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": cpu[1].decode(errors="replace") if cpu else "",
        "load": round(os.getloadavg()[0], 2),
    }


def about(host: dict[str, Any], rounds: int) -> str:
    """One line about a recorded run."""
    model = f" ({host['cpu']})" if host["cpu"] else ""
    return (
        f"{host['date']}; {host['system']}, Linux {host['kernel']}, {host['machine']}, {host['cpus']} CPUs{model}, "
        f"load {host['load']} before; {rounds} rounds"
    )


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


def document(all_samples: list[Samples], base: Samples, rounds: int, host: dict[str, Any]) -> dict[str, Any]:
    """All figures as plain data, for `--json`. host: from the function of that name, before the run."""
    return {
        "host": host,
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
    low, high = tenths(times)
    return {
        "median_ms": round(median(samples, operation), 3),
        "p10_ms": round(low, 3),
        "p90_ms": round(high, 3),
        "ratio": round(ratio(samples, base, operation), 3),
        "samples_ms": [round(value, 3) for value in times],
    }

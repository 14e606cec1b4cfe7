"""The chart, a single SVG file: a group of bars per operation, a bar per runtime."""

from __future__ import annotations

import statistics
from html import escape

from bench.measure import OPERATIONS, Samples
from bench.report import BARS, TITLES, median, ratio

_COLORS = ("#2563eb", "#f59e0b", "#94a3b8", "#10b981", "#a855f7", "#ef4444")
_LEFT, _RIGHT, _TOP, _BAR, _GAP, _WIDTH = 130, 150, 90, 17, 16, 920


def chart(all_samples: list[Samples], base: Samples) -> str:
    """The SVG as text."""
    longest = max(_tenths(one, operation)[1] for one in all_samples for operation in OPERATIONS)
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if longest / size <= 10)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    group = _BAR * len(all_samples) + _GAP
    height = _TOP + group * len(OPERATIONS) + 40
    parts = [_grid(longest, step, scale, height), _legend(all_samples)]
    for row, operation in enumerate(OPERATIONS):
        parts.append(_group(all_samples, base, operation, _TOP + row * group, scale))
    subtitle = f"medians in ms, and the ratio to {base.contestant.name}; whiskers: tenth and ninetieth percentile"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#1e293b">'
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
        '<text x="20" y="28" font-size="17" font-weight="bold">How long the calls of a container runtime take</text>'
        f'<text x="20" y="47" fill="#64748b">{escape(subtitle)}</text>{"".join(parts)}</svg>\n'
    )


def _tenths(samples: Samples, operation: str) -> tuple[float, float]:
    times = samples.times[operation]
    if len(times) == 1:
        return times[0], times[0]
    tenths = statistics.quantiles(times, n=10)
    return tenths[0], tenths[8]


def _grid(longest: float, step: int, scale: float, height: int) -> str:
    lines = []
    for value in range(0, int(longest) + 1, step):
        x = _LEFT + value * scale
        lines.append(f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height - 34}" stroke="#e2e8f0"/>')
        lines.append(f'<text x="{x:.1f}" y="{height - 18}" text-anchor="middle" fill="#64748b">{value} ms</text>')
    return "".join(lines)


def _legend(all_samples: list[Samples]) -> str:
    parts = []
    x = 20.0
    for number, samples in enumerate(all_samples):
        name = samples.contestant.name
        parts.append(f'<rect x="{x}" y="60" width="12" height="12" rx="2" fill="{_COLORS[number % len(_COLORS)]}"/>')
        parts.append(f'<text x="{x + 17}" y="70.5">{escape(name)}</text>')
        x += 17 + 8 * len(name) + 18
    return "".join(parts)


def _group(all_samples: list[Samples], base: Samples, operation: str, top: float, scale: float) -> str:
    middle = top + _BAR * len(all_samples) / 2 + 4
    title = escape(TITLES.get(operation, operation))
    parts = [f'<text x="{_LEFT - 10}" y="{middle:.1f}" text-anchor="end" font-weight="bold">{title}</text>']
    for number, samples in enumerate(all_samples):
        value = median(samples, operation)
        low, high = _tenths(samples, operation)
        y = top + number * _BAR
        centre = y + _BAR / 2 - 1
        color = _COLORS[number % len(_COLORS)]
        text = f"{value:.1f}  ({ratio(samples, base, operation):.2f})"
        parts.append(
            f'<rect x="{_LEFT}" y="{y}" width="{value * scale:.1f}" height="{_BAR - 2}" rx="2" fill="{color}"/>'
            f'<line x1="{_LEFT + low * scale:.1f}" y1="{centre}" x2="{_LEFT + high * scale:.1f}" y2="{centre}" '
            'stroke="#1e293b" stroke-width="1.2"/>'
            f'<text x="{_LEFT + max(value, high) * scale + 7:.1f}" y="{centre + 4}">{text}</text>'
        )
    if operation in BARS:
        x = _LEFT + BARS[operation] * median(base, operation) * scale
        bottom = top + _BAR * len(all_samples)
        parts.append(
            f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{bottom}" stroke="#dc2626" stroke-width="1.5" '
            f'stroke-dasharray="4 3"/><text x="{x + 4:.1f}" y="{top - 5}" fill="#dc2626" font-size="10">'
            f"bar {BARS[operation]}</text>"
        )
    return "".join(parts)

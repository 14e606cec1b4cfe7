"""The chart, a single SVG file: a panel per operation with a bar per runtime.

Each panel has its scale, so that short calls can be read too.
"""

from __future__ import annotations

from html import escape

from bench.measure import OPERATIONS, Samples
from bench.report import BARS, TITLES, median, ratio, tenths

_COLORS = ("#2563eb", "#f59e0b", "#94a3b8", "#10b981", "#a855f7", "#ef4444")
_LEFT, _RIGHT, _TOP, _BAR, _WIDTH = 130, 150, 96, 17, 920
_AXIS = 34  # below each panel
_STEPS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def chart(all_samples: list[Samples], base: Samples, about: str) -> str:
    """The SVG as text. about: the machine and the date."""
    panel = _BAR * len(all_samples) + _AXIS
    height = _TOP + panel * len(OPERATIONS) + 6
    title = "How long the calls of a container runtime take"
    subtitle = f"medians in ms, and the ratio to {base.contestant.name}; whiskers: tenth and ninetieth percentile"
    parts = [_legend(all_samples)]
    for row, operation in enumerate(OPERATIONS):
        parts.append(_panel(all_samples, base, operation, _TOP + row * panel))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#1e293b" role="img">'
        f'<title>{title}</title><rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
        f'<text x="20" y="26" font-size="17" font-weight="bold">{title}</text>'
        f'<text x="20" y="44" fill="#64748b">{escape(subtitle)}</text>'
        f'<text x="20" y="60" fill="#64748b">{escape(about)}</text>{"".join(parts)}</svg>\n'
    )


def _legend(all_samples: list[Samples]) -> str:
    parts = []
    x = 20.0
    for number, samples in enumerate(all_samples):
        name = samples.contestant.name
        parts.append(f'<rect x="{x}" y="70" width="12" height="12" rx="2" fill="{_COLORS[number % len(_COLORS)]}"/>')
        parts.append(f'<text x="{x + 17}" y="80.5">{escape(name)}</text>')
        x += 17 + 8 * len(name) + 18
    return "".join(parts)


def _panel(all_samples: list[Samples], base: Samples, operation: str, top: float) -> str:
    bottom = top + _BAR * len(all_samples)
    longest = max(tenths(one.times[operation])[1] for one in all_samples)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    title = escape(TITLES.get(operation, operation))
    middle = (top + bottom) / 2 + 4
    parts = [
        _grid(longest, scale, top, bottom),
        f'<text x="{_LEFT - 10}" y="{middle:.1f}" text-anchor="end" font-weight="bold">{title}</text>',
    ]
    for number, samples in enumerate(all_samples):
        value = median(samples, operation)
        low, high = tenths(samples.times[operation])
        y = top + number * _BAR
        centre = y + _BAR / 2 - 1
        text = f"{value:.1f}  ({ratio(samples, base, operation):.2f})"
        parts.append(
            f'<rect x="{_LEFT}" y="{y}" width="{value * scale:.1f}" height="{_BAR - 2}" rx="2" '
            f'fill="{_COLORS[number % len(_COLORS)]}"/>'
            f'<line class="whisker" x1="{_LEFT + low * scale:.1f}" y1="{centre}" x2="{_LEFT + high * scale:.1f}" '
            f'y2="{centre}" stroke="#1e293b" stroke-width="1.2"/>'
            f'<text x="{_LEFT + max(value, high) * scale + 7:.1f}" y="{centre + 4}">{text}</text>'
        )
    if operation in BARS:
        x = _LEFT + BARS[operation] * median(base, operation) * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="{top - 3}" x2="{x:.1f}" y2="{bottom}" stroke="#dc2626" stroke-width="1.5" '
            f'stroke-dasharray="4 3"/><text x="{x + 4:.1f}" y="{top - 4}" fill="#dc2626" font-size="10">'
            f"target {BARS[operation]}</text>"
        )
    return "".join(parts)


def _grid(longest: float, scale: float, top: float, bottom: float) -> str:
    step = next((size for size in _STEPS if longest / size <= 8), _STEPS[-1])
    lines = []
    for number in range(int(longest / step) + 1):
        x = _LEFT + number * step * scale
        lines.append(f'<line x1="{x:.1f}" y1="{top - 3}" x2="{x:.1f}" y2="{bottom + 1}" stroke="#e2e8f0"/>')
        lines.append(
            f'<text x="{x:.1f}" y="{bottom + 12}" text-anchor="middle" fill="#64748b" font-size="10">'
            f"{number * step:g}</text>"
        )
    return "".join(lines)

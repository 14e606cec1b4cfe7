"""The HTML of a picture: one file that needs no network, for screens of any width, light or dark."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path

from ocipy.errors import printable
from ocipy.picture.rows import Box, Picture, document_lines, id_of
from ocipy.version import VERSION

HERE = Path(__file__).parent


def html(picture: Picture) -> str:
    """The whole page. Its content is not trusted: everything is escaped, and the CSP allows no other script."""
    style, script = _own("page.css"), _own("page.js")
    longest = max((box.milliseconds or 0 for box in picture.boxes), default=0)
    style += _placed(max((box.row for box in picture.boxes), default=0))
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    arrows = json.dumps(picture.arrows).replace("<", "\\u003c")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_shown(picture.title)}</title><style>{style}</style></head><body>",
            f"<header><h1>{_shown(picture.title)}</h1><p>What the runtime does on the host, and what the process does "
            "that becomes the container. An arrow shows where one waits for the other. Click a step to unfold it "
            "and to see the field that asked for it.</p></header>",
            '<main><section id="lanes"><h2 class="host">host</h2><h2 class="init">container</h2>',
            *(_box(box, longest) for box in picture.boxes),
            '<svg aria-hidden="true"><defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs></svg></section>',
            '<aside id="config"><h2>config.json</h2><pre>'
            + "".join(_line(*line) for line in document_lines(picture.config))
            + "</pre></aside></main>",
            _warnings(picture),
            f'<footer>ocipy {VERSION}</footer><script type="application/json" id="arrows">{arrows}</script>',
            f"<script>{script}</script></body></html>",
            "",
        ]
    )


def _own(name: str) -> str:
    """A file of this package."""
    return (HERE / name).read_bytes().decode("utf-8", "replace")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii", "replace")


def _shown(text: str) -> str:
    """Text for the page: characters that cannot be seen, or that reorder others, become escapes, as in a terminal."""
    return escape("\n".join(map(printable, text.split("\n"))))


def _placed(rows: int) -> str:
    """A class for each row: the CSP forbids style attributes."""
    lanes = "h2.host, details.host { grid-column: 1; } h2.init, details.init { grid-column: 2; }\n"
    bars = "".join(f".w{tenth} {{ width: {tenth * 10}%; }}\n" for tenth in range(11))
    return lanes + bars + "".join(f".r{row} {{ grid-row: {row + 1}; }}\n" for row in range(1, rows + 1))


def _box(box: Box, longest: float) -> str:
    kinds = [box.lane, f"r{box.row}", *(["barrier"] if box.barrier else []), *(["failed"] if box.failed else [])]
    time = bar = ""
    if box.milliseconds is not None:
        time = f'<span class="time">{box.milliseconds:.2f} ms</span>'
        bar = f'<span class="bar w{round(10 * box.milliseconds / longest) if longest else 0}"></span>'
    arguments = json.dumps(dict(box.arguments), indent=1, ensure_ascii=False, default=str)
    return (
        f'<details class="{" ".join(kinds)}" id="{id_of(box)}" data-pointer="{escape(box.pointer)}"><summary>{time}'
        f'<span class="number">{box.number}</span><span class="action">{_shown(box.action)}</span> '
        f'<span class="words">{_shown(box.words)}</span>{bar}</summary>'
        f'<code class="pointer">{_shown(box.pointer) or "always done"}</code><pre>{_shown(arguments)}</pre></details>'
    )


def _line(pointer: str, text: str) -> str:
    return f'<span data-pointer="{escape(pointer)}">{_shown(text)}</span>'


def _warnings(picture: Picture) -> str:
    if not picture.warnings:
        return ""
    items = "".join(f"<li><code>{_shown(pointer)}</code> {_shown(text)}</li>" for pointer, text in picture.warnings)
    return f'<ul class="warnings">{items}</ul>'

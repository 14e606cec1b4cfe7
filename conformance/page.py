"""The HTML page: one file with the runtimes side by side; failing tests unfold."""

from __future__ import annotations

from html import escape

from conformance.expected import Expectation
from conformance.report import cell, label, left_behind, tests_passed
from conformance.runner import PASSED, Outcome, RuntimeRun
from conformance.suite import MODULE, VERSION

_STYLE = """
:root { --ink:#1c2330; --soft:#5b6577; --paper:#fff; --line:#dde2ea; --band:#f5f7fa;
        --good:#1a7f43; --goodbg:#e3f4e9; --bad:#b42318; --badbg:#fdeae8; --known:#8a6100; --knownbg:#fdf3d8; }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e5e9f0; --soft:#9aa5b8; --paper:#14181f; --line:#2c3442; --band:#1b212b;
          --good:#6fd397; --goodbg:#173524; --bad:#ff9d93; --badbg:#43201d; --known:#f0c862; --knownbg:#3c3115; } }
* { box-sizing:border-box } body { margin:0 auto; max-width:1200px; padding:2rem 1.5rem 4rem; color:var(--ink);
  background:var(--paper); font:15px/1.5 system-ui, sans-serif }
h1 { font-size:1.5rem; margin:0 } p.sub { color:var(--soft); margin:.2rem 0 1.5rem }
.cards { display:flex; flex-wrap:wrap; gap:1rem; margin-bottom:1.5rem }
.card { border:1px solid var(--line); border-radius:8px; padding:.8rem 1rem; min-width:13rem; flex:1 }
.card b { font-size:1.5rem } .card small { color:var(--soft); display:block; overflow-wrap:anywhere }
.bar { height:6px; border-radius:3px; background:var(--badbg); overflow:hidden; margin:.5rem 0 }
.bar i { display:block; height:100%; background:var(--good) }
table { border-collapse:collapse; width:100%; table-layout:fixed }
th { text-align:left; font-weight:600; position:sticky; top:0; background:var(--paper);
  border-bottom:2px solid var(--line) }
th, td { padding:.4rem .6rem; vertical-align:top } tbody tr { border-bottom:1px solid var(--line) }
tbody tr:hover { background:var(--band) }
td:first-child { font-family:ui-monospace, monospace; font-size:.87rem; overflow-wrap:anywhere }
.chip { border-radius:4px; padding:.05rem .45rem; font-size:.85rem; font-weight:600; white-space:nowrap }
.good { color:var(--good); background:var(--goodbg) } .bad { color:var(--bad); background:var(--badbg) }
.known { color:var(--known); background:var(--knownbg) } .n { color:var(--soft); font-size:.83rem; margin-left:.3rem }
details { font-size:.85rem } summary { cursor:pointer; list-style-position:outside }
ul { margin:.4rem 0; padding-left:1.1rem } li { overflow-wrap:anywhere }
pre { white-space:pre-wrap; overflow-wrap:anywhere; font-size:.78rem; color:var(--soft); margin:.2rem 0;
  max-height:16rem; overflow:auto }
.why { color:var(--soft); font:italic .83rem/1.4 system-ui, sans-serif; margin:.2rem 0 0 }
.tools { margin:0 0 .8rem; color:var(--soft) }
body:has(#failing:checked) tr.clean, body:has(#differing:checked) tr.same { display:none }
"""


def page(runs: list[RuntimeRun], expectations: dict[str, Expectation]) -> str:
    """The whole page as text. `expectations` are those of the first runtime."""
    cards = "".join(_card(run) for run in runs)
    heads = "".join(f"<th>{escape(label(run))}</th>" for run in runs)
    rows = "".join(
        _row([run.outcomes[position] for run in runs], expectations.get(outcome.program))
        for position, outcome in enumerate(runs[0].outcomes)
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>OCI runtime conformance</title><style>{_STYLE}</style></head><body>"
        "<h1>OCI runtime conformance</h1>"
        f"<p class='sub'>{escape(MODULE)} {escape(VERSION)}, "
        f"{len(runs[0].outcomes)} programs, one by one on one host</p>"
        f"<div class='cards'>{cards}</div>"
        "<p class='tools'><label><input type='checkbox' id='failing'> only programs that fail somewhere</label> &nbsp; "
        "<label><input type='checkbox' id='differing'> only where the runtimes differ</label></p>"
        f"<table><thead><tr><th>program</th>{heads}</tr></thead><tbody>{rows}</tbody></table></body></html>\n"
    )


def _card(run: RuntimeRun) -> str:
    total = len(run.outcomes)
    passed = run.count(PASSED)
    seconds = sum(outcome.seconds for outcome in run.outcomes)
    return (
        f"<div class='card'>{escape(label(run))}<br><b>{passed}</b> of {total} programs"
        f"<div class='bar'><i style='width:{100 * passed / max(total, 1):.1f}%'></i></div>"
        f"<small>{tests_passed(run)} single tests · {seconds:.0f} s</small><small>{escape(run.path)}</small></div>"
    )


def _row(outcomes: list[Outcome], expectation: Expectation | None) -> str:
    statuses = {outcome.status for outcome in outcomes}
    classes = " ".join(name for name, holds in (("clean", statuses == {PASSED}), ("same", len(statuses) == 1)) if holds)
    why = ""
    if expectation:
        when = "" if expectation.when == "always" else f" ({expectation.when})"
        why = f"<p class='why'>{escape(expectation.reason + when)}</p>"
    cells = "".join(
        f"<td>{_cell(outcome, expectation is not None and position == 0)}</td>"
        for position, outcome in enumerate(outcomes)
    )
    return f"<tr class='{classes}'><td>{escape(outcomes[0].program)}{why}</td>{cells}</tr>"


def _cell(outcome: Outcome, known: bool) -> str:
    kind = "good" if outcome.status == PASSED else "known" if known else "bad"
    status, _, count = cell(outcome).partition(" ")
    head = f"<span class='chip {kind}'>{status}</span><span class='n'>{count} {outcome.seconds:.1f} s</span>"
    body = _details(outcome)
    return f"<details><summary>{head}</summary>{body}</details>" if body else head


def _details(outcome: Outcome) -> str:
    parts = []
    failing = [test for test in outcome.tests if not test.ok]
    if failing:
        items = "".join(
            f"<li>{escape(test.text)}{f'<pre>{escape(test.detail)}</pre>' if test.detail else ''}</li>"
            for test in failing
        )
        parts.append(f"<ul>{items}</ul>")
    if outcome.status != PASSED:
        texts = [*outcome.errors, outcome.stderr.strip()]
        parts += [f"<pre>{escape(text)}</pre>" for text in texts if text]
        parts.append(f"<p class='n'>exit status {outcome.exit_status}</p>")
    if outcome.left:
        parts.append(f"<p class='n'>left behind: {escape(left_behind(outcome.left))}</p>")
    return "".join(parts)

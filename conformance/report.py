"""The table on the terminal, and the JSON document."""

from __future__ import annotations

import platform
from typing import Any

from conformance.expected import Expectation
from conformance.runner import PASSED, Outcome, RuntimeRun
from conformance.suite import MODULE, VERSION


def label(run: RuntimeRun) -> str:
    """A runtime's name in headings."""
    return f"{run.name} {run.version}".strip()


def cell(outcome: Outcome) -> str:
    """A program's result in a few characters: its status, and how many of its tests passed."""
    words = [outcome.status]
    if outcome.tests:
        words.append(f"{sum(test.ok for test in outcome.tests)}/{len(outcome.tests)}")
    if outcome.attempts > 1:
        words.append(f"at attempt {outcome.attempts}")
    return " ".join(words)


def table(runs: list[RuntimeRun]) -> str:
    """A row per program, a column per runtime, and the totals."""
    rows = [["program", *(label(run) for run in runs)]]
    for position, outcome in enumerate(runs[0].outcomes):
        rows.append([outcome.program, *(cell(run.outcomes[position]) for run in runs)])
    total = len(runs[0].outcomes)
    rows.append(["programs passed", *(f"{run.count(PASSED)} of {total}" for run in runs)])
    rows.append(["single tests passed", *(tests_passed(run) for run in runs)])
    rows.append(["seconds", *(f"{sum(outcome.seconds for outcome in run.outcomes):.0f}" for run in runs)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-3], rule, *lines[-3:]])


def tests_passed(run: RuntimeRun) -> str:
    """`passed of all (skipped)`, counting single tests."""
    tests = [test for outcome in run.outcomes for test in outcome.tests]
    skipped = sum(test.skipped for test in tests)
    return f"{sum(test.ok for test in tests)} of {len(tests)} ({skipped} skipped)"


def failures(run: RuntimeRun) -> str:
    """Each failed program's failing tests and errors, indented."""
    lines = []
    for outcome in run.outcomes:
        if outcome.status == PASSED:
            continue
        lines.append(f"{outcome.program}: {outcome.status}, exit status {outcome.exit_status}")
        lines += [f"    not ok: {test.text}" for test in outcome.tests if not test.ok]
        lines += [f"    error: {first_line(error)}" for error in outcome.errors]
        lines += [f"    {line}" for line in outcome.stderr.strip().splitlines()[-4:]]
    return "\n".join(lines)


def left_behind(things: list[str]) -> str:
    """`2 mounts (the first: /x), 1 process (…)`: a program's leftovers, by kind."""
    kinds: dict[str, list[str]] = {}
    for thing in things:
        kind, _, name = thing.partition(" ")
        kinds.setdefault(kind, []).append(name)
    return ", ".join(f"{len(names)} {kind} ({names[0]}{', …' if names[1:] else ''})" for kind, names in kinds.items())


def first_line(text: str) -> str:
    """The first line of a text."""
    return text.strip().splitlines()[0] if text.strip() else ""


def document(runs: list[RuntimeRun], expectations: dict[str, Expectation]) -> dict[str, Any]:
    """All results as plain data, for `--json`."""
    return {
        "suite": {"module": MODULE, "version": VERSION},
        "host": {"kernel": platform.release(), "machine": platform.machine()},
        "runtimes": [_runtime(run) for run in runs],
        "expected_failures": {
            program: {"reason": expectation.reason, "when": expectation.when}
            for program, expectation in sorted(expectations.items())
        },
    }


def _runtime(run: RuntimeRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "version": run.version,
        "path": run.path,
        "passed": run.count(PASSED),
        "programs": [_program(outcome) for outcome in run.outcomes],
    }


def _program(outcome: Outcome) -> dict[str, Any]:
    return {
        "program": outcome.program,
        "status": outcome.status,
        "exit_status": outcome.exit_status,
        "seconds": round(outcome.seconds, 2),
        "attempts": outcome.attempts,
        "tests": [_test(test.ok, test.skipped, test.text, test.detail) for test in outcome.tests],
        "errors": outcome.errors,
        "stderr": outcome.stderr,
        "left_behind": outcome.left,
    }


def _test(ok: bool, skipped: bool, text: str, detail: str) -> dict[str, Any]:
    record: dict[str, Any] = {"ok": ok, "text": text}
    if skipped:
        record["skipped"] = True
    if not ok and detail:
        record["detail"] = detail
    return record

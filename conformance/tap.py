"""Reads the output of a suite's program: TAP with JSON records between `---` and `...`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_TEST = re.compile(r"^(?P<not>not )?ok\b\s*(?P<number>\d+)?\s*(?:-\s*)?(?P<text>.*)$")
_SKIP = re.compile(r"#\s*SKIP\b\s*(?P<why>.*)$", re.IGNORECASE)
_ERROR = re.compile(r'^\s*"error":\s*(?P<value>.*?),?\s*$')


@dataclass
class Test:
    """One `ok` or `not ok` line; `detail` is the text of the diagnostics that follow it."""

    ok: bool
    text: str
    skipped: bool = False
    detail: str = ""


@dataclass
class Report:
    """All tests of a program, and its recorded errors."""

    tests: list[Test] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def passed(self, exit_status: int) -> bool:
        """Whether a program with this exit status passed.

        The life-cycle and hook programs print no test line. If they fail, they print a record with "error" and exit
        with status 0. After an `ok`, such a record is only a remark.
        """
        if exit_status != 0 or any(not test.ok for test in self.tests):
            return False
        return bool(self.tests) or not self.errors


def _unquote(value: str) -> str:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, str) else value


def parse(output: str) -> Report:
    """The report in a program's standard output."""
    report = Report()
    for line in output.splitlines():
        found = _TEST.match(line)
        if found:
            skip = _SKIP.search(found["text"])
            text = skip["why"] if skip else found["text"]
            report.tests.append(Test(ok=not found["not"], text=text.strip(), skipped=skip is not None))
            continue
        error = _ERROR.match(line)
        if error and _unquote(error["value"]):
            report.errors.append(_unquote(error["value"]))
        if report.tests and line.startswith((" ", "#")) and line.strip() not in ("---", "...", "{", "}"):
            last = report.tests[-1]
            last.detail = f"{last.detail}\n{line.strip()}" if last.detail else line.strip()
    return report

"""The command `conformance/run`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from conformance import expected, host, page, report
from conformance.private import private_host
from conformance.runner import PASSED, Outcome, Runner, RuntimeRun, describe
from conformance.suite import Suite, SuiteError, build


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="conformance/run", description="Run the OCI runtime-tools validation suite against container runtimes."
    )
    parser.add_argument("--runtime", action="append", default=[], metavar="PATH", help="a runtime; may be repeated")
    parser.add_argument(
        "--expect",
        type=Path,
        metavar="FILE",
        help="judge the first runtime by this list of expected failures: exit 1 on any difference",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PROGRAM", help="run this program only; may be repeated"
    )
    parser.add_argument("--timeout", type=float, default=90.0, metavar="SECONDS", help="limit for each program (90)")
    parser.add_argument("--build-only", action="store_true", help="build the suite into the cache and stop")
    return parser.parse_args(argv)


def _run(suite: Suite, run: RuntimeRun, programs: tuple[str, ...], attempts: dict[str, int], limit: float) -> None:
    def tell(outcome: Outcome) -> None:
        print(
            f"{report.label(run)}: {outcome.program}: {report.cell(outcome)} ({outcome.seconds:.1f} s)", file=sys.stderr
        )
        if outcome.left:
            print(f"    left behind, removed now: {report.left_behind(outcome.left)}", file=sys.stderr)

    runner = Runner(suite, run, limit)
    try:
        runner.run_all(programs, attempts, tell)
    finally:
        runner.close()


def _judge(run: RuntimeRun, expectations: dict[str, expected.Expectation]) -> int:
    surprises = expected.judge(run.outcomes, expectations)
    failing = len(run.outcomes) - run.count(PASSED)
    print(
        f"\n{report.label(run)}: {run.count(PASSED)} of {len(run.outcomes)} programs passed, {failing} did not; "
        f"{len(surprises)} unexpected"
    )
    for line in surprises:
        print(f"unexpected: {line}")
    return 1 if surprises else 0


def _work(arguments: argparse.Namespace) -> int:
    suite = build()
    if arguments.build_only:
        print(suite.folder)
        return 0
    expectations = expected.load(arguments.expect, suite.programs) if arguments.expect else {}
    unknown = [name for name in arguments.only if name not in suite.programs]
    if unknown:
        raise SuiteError(f"the suite has no program {', '.join(unknown)}")
    programs = tuple(arguments.only) or suite.programs
    runs = [describe(str(Path(path).absolute())) for path in arguments.runtime]
    attempts = {program: expectation.attempts for program, expectation in expectations.items()}
    host.become_subreaper()
    with private_host() as changed, host.only_one(), host.hugetlb_mounted():
        for run in runs:
            _run(suite, run, programs, attempts, arguments.timeout)
    print(report.table(runs))
    for run in runs if len(runs) == 1 else []:
        print(f"\n{report.failures(run)}")
    document = report.document(runs, expectations)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.html:
        arguments.html.write_text(page.page(runs, expectations))
    for line in changed:
        print(line)
    status = _judge(runs[0], expectations) if arguments.expect else 0
    return 1 if changed else status


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return its exit status: 0, 1 (results differ from the list), 2 (it could not run)."""
    arguments = _arguments(argv)
    # Clean up the host on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if not arguments.runtime and not arguments.build_only:
        print("conformance/run: name a runtime with --runtime PATH", file=sys.stderr)
        return 2
    if os.geteuid() != 0 and not arguments.build_only:
        print("conformance/run: needs root, as the suite's programs do", file=sys.stderr)
        return 2
    try:
        return _work(arguments)
    except (SuiteError, expected.ExpectationError, OSError) as error:
        print(f"conformance/run: {error}", file=sys.stderr)
        return 2

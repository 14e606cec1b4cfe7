"""The command `bench/run`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from pathlib import Path

from bench import bundle, chart, phases, report
from bench.measure import Bench, CallError, Samples, measure, state_folder
from bench.runtimes import RUNC_VERSION, TOP, Contestant, MissingError, contestants, version
from conformance.host import become_subreaper, hugetlb_mounted, only_one


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description="Compare a container runtime's times with others'.")
    parser.add_argument(
        "--ours", default=str(TOP / ".venv/bin/ocipy"), metavar="PATH", help="the runtime that is judged"
    )
    parser.add_argument("--with", dest="others", action="append", default=[], metavar="PATH", help="one more runtime")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="rounds (40)")
    parser.add_argument("--warm-up", type=int, default=3, metavar="N", help="rounds before those, not counted (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a chart")
    parser.add_argument(
        "--profile", action="store_true", help="instead: what each millisecond of `run` of ours goes into"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not met")
    return parser.parse_args(argv)


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text} ", end="", file=sys.stderr, flush=True)


def _measure(arguments: argparse.Namespace, all_of_them: list[Contestant]) -> list[Samples]:
    base = "/run" if os.access("/run", os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="ocipy-bench-", dir=base))
    try:
        bench = Bench(
            scratch, bundle.make(scratch / "true", ["true"]), bundle.make(scratch / "sleep", ["sleep", "1000"])
        )
        return measure(bench, all_of_them, arguments.rounds, arguments.warm_up, _tell)
    finally:
        _tell("\n")
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(state_folder(scratch), ignore_errors=True)


def _profile(arguments: argparse.Namespace) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="ocipy-bench-", dir="/run"))
    try:
        bench = Bench(scratch, bundle.make(scratch / "true", ["true"]), scratch)
        ours = Contestant(version(arguments.ours), arguments.ours)
        plain, samples = [], []
        for number in range(-arguments.warm_up, arguments.rounds):
            milliseconds = bench.run_once(ours)
            sample = phases.split(phases.trace(bench.run_command(ours), scratch / "strace"))
            if number >= 0:
                plain.append(milliseconds)
                samples.append(sample)
        print(f"{ours.name}: `run true`, medians of {arguments.rounds}\n")
        print(phases.table(phases.medians(samples), statistics.median(plain)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(state_folder(scratch), ignore_errors=True)


def _judge(ours: Samples, base: Samples) -> bool:
    met_all = True
    for operation, ratio, bar, met in report.bars(ours, base):
        met_all &= met
        title = report.TITLES[operation]
        print(f"{title}: {ratio:.2f} of {base.contestant.name}, wanted at most {bar}: {'met' if met else 'NOT MET'}")
    return met_all


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 (a bar is not met, with --check), 2 (it could not be run)."""
    arguments = _arguments(argv)
    # So that the host is put in order on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if os.geteuid() != 0:
        print("bench/run: needs root, as the runtimes do", file=sys.stderr)
        return 2
    try:
        if arguments.profile:
            _profile(arguments)
            return 0
        all_of_them = contestants(arguments.ours, arguments.others)
        become_subreaper()
        # crun 1.8 refuses a hybrid host with a controller on the unified tree.
        with only_one(), hugetlb_mounted():
            all_samples = _measure(arguments, all_of_them)
    except (MissingError, CallError, OSError) as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 2
    ours = all_samples[0]
    base = next(samples for samples in all_samples if samples.contestant.name == f"runc {RUNC_VERSION}")
    print(report.table(all_samples, base))
    print(f"\n{arguments.rounds} rounds, each runtime in each round; ratios to {base.contestant.name}")
    met = _judge(ours, base)
    if arguments.json:
        document = report.document(all_samples, base, arguments.rounds)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(chart.chart(all_samples, base))
    return 0 if met or not arguments.check else 1

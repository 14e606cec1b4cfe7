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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import besides, boxes, bundle, chart, phases, report
from bench.measure import Bench, CallError, measure, state_folder
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
    parser.add_argument("--all", action="store_true", help="memory, many containers and podman as well: some minutes")
    parser.add_argument("--crowd", type=int, default=1000, metavar="N", help="how many containers are many (1000)")
    parser.add_argument(
        "--boxes", action="store_true", help="instead: `ocipy box run` beside podman's and docker's, each in each round"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not met")
    return parser.parse_args(argv)


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text} ", end="", file=sys.stderr, flush=True)


@contextmanager
def _bench() -> Iterator[Bench]:
    base = "/run" if os.access("/run", os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="ocipy-bench-", dir=base))
    try:
        yield Bench(scratch, bundle.make(scratch / "true", ["true"]), bundle.make(scratch / "sleep", ["sleep", "1000"]))
    finally:
        _tell("\n")
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(state_folder(scratch), ignore_errors=True)


def _profile(arguments: argparse.Namespace) -> None:
    ours = Contestant(version(arguments.ours), arguments.ours)
    plain, samples = [], []
    with _bench() as bench:
        for number in range(-arguments.warm_up, arguments.rounds):
            milliseconds = bench.run_once(ours)
            sample = phases.split(phases.trace(bench.run_command(ours), bench.scratch / "strace"))
            if number >= 0:
                plain.append(milliseconds)
                samples.append(sample)
    print(f"{ours.name}: `run true`, medians of {arguments.rounds}\n")
    print(phases.table(phases.medians(samples), statistics.median(plain)))


def _judge(bars: list[tuple[str, float, float, bool]]) -> bool:
    for title, figure, bar, met in bars:
        print(f"{title}: {figure:.2f}, wanted at most {bar}: {'met' if met else 'NOT MET'}")
    return all(met for *_, met in bars)


def _terminate(number: int, _frame: object) -> None:
    """Put the host in order on SIGTERM too, and undisturbed: timeout(1) sends two."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 (a bar is not met, with --check), 2 (it could not be run)."""
    arguments = _arguments(argv)
    signal.signal(signal.SIGTERM, _terminate)
    if os.geteuid() != 0:
        print("bench/run: needs root, as the runtimes do", file=sys.stderr)
        return 2
    try:
        if arguments.profile:
            _profile(arguments)
            return 0
        if arguments.boxes:
            return _boxes(arguments)
        return _compare(arguments)
    except (MissingError, CallError, OSError) as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 2


def _boxes(arguments: argparse.Namespace) -> int:
    become_subreaper()
    boxes.enter_namespaces()
    with only_one(), hugetlb_mounted(), _bench() as bench:
        rows = boxes.measure_boxes(bench, arguments.ours, arguments.rounds, arguments.warm_up, _tell)
    print(boxes.table(rows))
    print(f"\n{arguments.rounds} rounds, each way in each round; ratios to {rows[1].name}")
    met = _judge(boxes.bars(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({row.name: row.times for row in rows}, indent=1) + "\n")
    return 0 if met or not arguments.check else 1


def _compare(arguments: argparse.Namespace) -> int:
    all_of_them = contestants(arguments.ours, arguments.others)
    base_name = f"runc {RUNC_VERSION}"
    become_subreaper()
    lines: list[besides.Line] = []
    # crun 1.8 refuses a hybrid host with a controller on the unified tree.
    with only_one(), hugetlb_mounted(), _bench() as bench:
        all_samples = measure(bench, all_of_them, arguments.rounds, arguments.warm_up, _tell)
        if arguments.all:
            lines = besides.measure_besides(bench, all_of_them, base_name, arguments.crowd, _tell)
    ours = all_samples[0]
    base = next(samples for samples in all_samples if samples.contestant.name == base_name)
    print(report.table(all_samples, base))
    print(f"\n{arguments.rounds} rounds, each runtime in each round; ratios to {base_name}")
    bars = report.bars(ours, base)
    if lines:
        print("\n" + besides.table(lines, [one.name for one in all_of_them], base_name) + "\n")
        bars += besides.bars(lines, ours.contestant.name, base_name)
    met = _judge(bars)
    if arguments.json:
        document = report.document(all_samples, base, arguments.rounds) | {"besides": besides.document(lines)}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(chart.chart(all_samples, base))
    return 0 if met or not arguments.check else 1

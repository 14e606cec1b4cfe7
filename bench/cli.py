"""The command `bench/run`."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import besides, boxes, bundle, chart, ending, folios, hosts, phases, quick, report, sid
from bench.measure import Bench, CallError, measure, state_folder
from bench.runtimes import RUNC_VERSION, TOP, Contestant, MissingError, contestants, version
from conformance.host import (
    become_subreaper,
    cgroups,
    end_descendants,
    hugetlb_mounted,
    only_one,
    remove_cgroups,
    unmount_below,
)

SNAPSHOT = TOP / "build/default/_snapshot.bin"


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
        "--profile", action="store_true", help="instead: where the time of our `run` goes, to the millisecond"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="memory, many containers, creates at once, checkpoint, podman and the newest crun too: some minutes",
    )
    parser.add_argument("--crowd", type=int, default=1000, metavar="N", help="the crowd's containers (1000)")
    parser.add_argument(
        "--boxes", action="store_true", help="only `ocipy box run`, compared with podman's and docker's in every round"
    )
    parser.add_argument(
        "--hosts",
        type=_hosts,
        metavar="LIST",
        help="hosts to measure on, one after the other, separated by commas: "
        + "; ".join(f"{name}: {text}" for name, text in hosts.HOSTS.items()),
    )
    parser.add_argument("--on", choices=tuple(hosts.HOSTS), help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not met")
    return parser.parse_args(argv)


def _hosts(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in hosts.HOSTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such host: {', '.join(unknown)}; there are {', '.join(hosts.HOSTS)}")
    return names


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text} ", end="", file=sys.stderr, flush=True)


@contextmanager
def _bench(*, systemd: bool = False) -> Iterator[Bench]:
    base = "/run" if os.access("/run", os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="ocipy-bench-", dir=base))
    try:
        bundles = bundle.make(scratch / "true", ["true"]), bundle.make(scratch / "sleep", ["sleep", "1000"])
        yield Bench(scratch, *bundles, systemd=systemd)
    finally:
        _tell("\n")
        _end_containers(scratch)
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(state_folder(scratch), ignore_errors=True)


def _end_containers(scratch: Path) -> None:
    """Remove what an interrupted measurement has left behind."""
    end_descendants()
    unmount_below(scratch)
    remove_cgroups([path for path in cgroups() if f"bench-{os.getpid()}" in Path(path).name])


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


def _judge(bars: list[tuple[str, float, float, bool]], lines: list[besides.Line] | None = None) -> bool:
    """Whether all bars are met, and all lines measured."""
    for title, figure, bar, met in bars:
        print(f"{title}: {figure:.2f}, wanted at most {bar}: {'met' if met else 'NOT MET'}")
    return all(met for *_, met in bars) and not any(line.failure for line in lines or [])


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return its exit status: 0, 1 (with --check: a bar is not met), 2 (it could not run)."""
    arguments = _arguments(argv)
    ending.on_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a file has each table as soon as it is measured
    if os.geteuid() != 0:
        print("bench/run: needs root, as the runtimes do", file=sys.stderr)
        return 2
    become_subreaper()
    try:
        if arguments.profile:
            _profile(arguments)
            return 0
        if arguments.boxes:
            return _boxes(arguments)
        return _one_after_the_other(arguments) if arguments.hosts else _compare(arguments)
    except (MissingError, CallError, OSError) as error:
        ending.check()
        print(f"bench/run: {error}", file=sys.stderr)
        return 2


def _boxes(arguments: argparse.Namespace) -> int:
    boxes.enter_namespaces()
    with only_one(), hugetlb_mounted(), _bench() as bench:
        rows = boxes.measure_boxes(bench, arguments.ours, arguments.rounds, arguments.warm_up, _tell)
    print(boxes.table(rows))
    print(f"\n{arguments.rounds} rounds, each way in each round; ratios to {rows[1].name}")
    met = _judge(boxes.bars(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({row.name: row.times for row in rows}, indent=1) + "\n")
    return 0 if met or not arguments.check else 1


def _one_after_the_other(arguments: argparse.Namespace) -> int:
    documents, statuses = {}, []
    options = ["--ours", arguments.ours, "--rounds", str(arguments.rounds), "--warm-up", str(arguments.warm_up)]
    options += [word for path in arguments.others for word in ("--with", path)]
    options += ["--check"] if arguments.check else []
    for host in arguments.hosts:
        print(f"\n{host}: {hosts.HOSTS[host]}\n", flush=True)
        own = ["--svg", str(hosts.place_of(arguments.svg.absolute(), host))] if arguments.svg else []
        own += ["--all", "--crowd", str(arguments.crowd)] if arguments.all else []
        status, documents[host] = hosts.run_on(host, options + own, TOP / "build" / f"bench-{host}-{os.getpid()}.json")
        statuses.append(status)
    if arguments.json:
        arguments.json.write_text(json.dumps({"hosts": documents}, indent=1) + "\n")
    return max(statuses)


def _working(bench: Bench, all_of_them: list[Contestant], needed: str) -> list[Contestant]:
    """The runtimes that can run a container here. Ours and the base must be among them."""
    able = []
    for contestant in all_of_them:
        try:
            bench.run_once(contestant)
            able.append(contestant)
        except CallError as error:
            if contestant is all_of_them[0] or contestant.name == needed:
                raise
            print(f"left out: {error}")
    return able


def _newest_crun() -> list[str]:
    try:
        return [sid.program("crun")]
    except MissingError as error:
        print(f"left out: {error}")
        return []


def _compare(arguments: argparse.Namespace) -> int:
    all_of_them = contestants(arguments.ours, [*arguments.others, *(_newest_crun() if arguments.all else [])])
    base_name = f"runc {RUNC_VERSION}"
    lines: list[besides.Line] = []
    host = report.host()
    # crun 1.8 refuses a hybrid host with a controller on the unified tree.
    with only_one(), hugetlb_mounted(), _bench(systemd=arguments.on == "systemd") as bench:
        all_of_them = _working(bench, all_of_them, base_name)
        all_samples = measure(bench, all_of_them, arguments.rounds, arguments.warm_up, _tell)
        ours = all_samples[0]
        base = next(samples for samples in all_samples if samples.contestant.name == base_name)
        _tell("\n")
        print(report.table(all_samples, base))
        print(f"\n{arguments.rounds} rounds, each runtime in each round; ratios to {base_name}")
        if SNAPSHOT.exists() and Path(arguments.ours).is_relative_to(TOP):
            print(folios.about(SNAPSHOT))
        if arguments.on:
            lines = quick.measure_quick(bench, all_of_them, base_name, arguments.rounds, _tell)
        if arguments.all:
            lines += besides.burst_lines(bench, all_of_them, _tell)
        if arguments.all and arguments.on in (None, "v1"):  # the others have no memory controller, nor a podman
            lines += besides.measure_besides(bench, all_of_them, base_name, arguments.crowd, _tell)
    bars = hosts.bars(arguments.on, ours, all_samples[1:]) if arguments.on else report.bars(ours, base)
    if lines:
        print("\n" + besides.table(lines, [one.name for one in all_of_them], base_name) + "\n")
        bars += besides.bars(lines, ours.contestant.name, base_name)
    met = _judge(bars, lines)
    if arguments.json:
        document = report.document(all_samples, base, arguments.rounds, host)
        document |= {"besides": besides.document(lines), "targets": [list(bar) for bar in bars]}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(chart.chart(all_samples, base, report.about(host, arguments.rounds)))
    return 0 if met or not arguments.check else 1

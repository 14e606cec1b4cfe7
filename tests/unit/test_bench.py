"""The pure parts of bench: ratios, the chart, and splitting a trace into phases."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import besides, boxes, chart, cli, figures, folios, hosts, phases, report
from bench.bundle import config
from bench.crowd import Crowd, Pace
from bench.measure import OPERATIONS, CallError, Samples, timed
from bench.runtimes import Contestant
from bench.sid import libraries_of
from ocipy.config.check import check


def samples(name: str, milliseconds: float) -> Samples:
    made = Samples(Contestant(name, f"/{name}"))
    for times in made.times.values():
        times.extend([milliseconds, milliseconds * 1.5, milliseconds * 0.9])
    return made


def test_huge_pages_are_told_from_smaller_folios() -> None:
    head, tail = 1 << 15, 1 << 16
    huge, small = [head, *[tail] * 511], [head, *[tail] * 15]
    assert folios.huge_pages([]) == 0
    assert folios.huge_pages([0, *small, *huge, 0, *huge, *small]) == 1024
    assert folios.huge_pages(huge[1:]) == 0, "its head is not cached"


def test_bars_are_met_or_not() -> None:
    base = samples("runc 1.5.2", 10)
    assert [met for *_, met in report.bars(samples("ocipy", 6), base)] == [True, True, True]
    assert [met for *_, met in report.bars(samples("ocipy", 7), base)] == [False, True, False]


def test_boxes_have_a_row_for_each_way_and_a_bar_for_each_network() -> None:
    times = {"ocipy box": (30.0, 80.0), "podman, crun": (100.0, 200.0), "docker, runc": (150.0, 250.0)}
    rows = [
        boxes.Row(name, lambda _network: [], {}, {"none": [none], "bridge": [bridge]})
        for name, (none, bridge) in times.items()
    ]
    heading, *lines = boxes.table(rows).split("\n")
    assert heading.split()[-4:] == ["--network", "none", "--network", "bridge"]
    assert [line.split()[-4:] for line in lines] == [
        ["30.0", "(0.30)", "80.0", "(0.40)"],
        ["100.0", "(1.00)", "200.0", "(1.00)"],
        ["150.0", "(1.50)", "250.0", "(1.25)"],
    ]
    assert [met for *_, met in boxes.bars(rows)] == [True, False]


def test_a_host_has_bars_for_the_newest_runtime_of_a_name() -> None:
    ours = samples("ocipy 0.1.0", 6)
    others = [samples("runc 1.5.2", 10), samples("crun 1.8.1", 5), samples("crun 1.27", 4), samples("runc 1.1.5", 20)]
    title, figure, _, met = hosts.bars("v2", ours, others)[0]
    assert (title, figure, met) == ("run true, compared with crun 1.27", 1.5, False)
    assert [figure for _, figure, *_ in hosts.bars("systemd", ours, others)] == [0.6, 0.6, 0.6]
    assert [met for *_, met in hosts.bars("systemd", ours, others)] == [True, False, False]
    assert hosts.bars("v1", ours, others)[0][:2] == ("run true, compared with crun 1.8.1", 1.2)
    assert hosts.bars("v1", ours, [samples("crun 1.80", 5)]) == [], "that is no crun 1.8"
    assert hosts.bars("v1", ours, others[:1]) == [], "without a crun there is nothing to compare with"


def test_each_host_has_its_own_files() -> None:
    assert hosts.place_of(Path("/x/bench.svg"), "v2") == Path("/x/bench-v2.svg")


def test_a_call_that_is_meant_to_fail(tmp_path: Path) -> None:
    assert timed(["/bin/false"], tmp_path / "out", fails=True) > 0
    with pytest.raises(CallError):
        timed(["/bin/true"], tmp_path / "out", fails=True)


def test_the_table_has_every_operation() -> None:
    text = report.table([samples("ocipy", 5), samples("runc", 10)], samples("runc", 10))
    assert text.count("(0.50)") == len(OPERATIONS)


def test_the_chart_is_well_formed() -> None:
    drawn = chart.chart([samples("ocipy", 5), samples("runc <2>", 10)], samples("runc <2>", 10), "here & today")
    root = ElementTree.fromstring(drawn)
    assert root.findtext("{http://www.w3.org/2000/svg}title")
    assert "here &amp; today" in drawn


def test_whiskers_are_of_the_times_measured() -> None:
    """An extrapolated percentile of few times can be negative."""
    assert list(report.tenths([1.0, 100.0])) == pytest.approx([10.9, 90.1])
    one = samples("ocipy", 5)
    one.times["run"] = [0.1, 9.0, 10.0]
    drawn = ElementTree.fromstring(chart.chart([one], one, ""))
    whiskers = [line for line in drawn.iter("{http://www.w3.org/2000/svg}line") if line.get("class") == "whisker"]
    assert len(whiskers) == len(OPERATIONS)
    assert all(float(line.attrib["x1"]) >= 130 for line in whiskers)  # where the bars begin


def test_each_panel_has_its_scale() -> None:
    """Else the bars of start and state are too short to be read next to those of run."""
    one = samples("ocipy", 5)
    one.times["state"] = [0.5, 0.75, 0.45]
    widths = re.findall(r'width="([\d.]+)" height="15"', chart.chart([one], one, ""))
    assert len(widths) == len(OPERATIONS)
    assert len(set(widths)) == 1


def test_the_pages_have_the_figures_of_the_record() -> None:
    record = json.loads(figures.RECORD.read_text())
    assert {"date", "system", "kernel", "cpus", "load"} <= set(record["host"])
    for name, put in (("README.md", figures.in_readme), ("docs/benchmarks.md", figures.in_benchmarks)):
        page = (figures.TOP / name).read_text()
        assert put(page, record) == page, f"{name}: make figures, or .venv/bin/python -m bench.figures"
    assert record["host"]["date"] in (figures.TOP / "docs/benchmarks.svg").read_text()


def test_the_comparison_of_runtimes_has_the_memory_of_the_record() -> None:
    """Rounded: within a third."""
    page = " ".join((figures.TOP / "docs/which-runtime.md").read_text().split())
    said = re.search(r"keeps some (\d+) KiB \(runc some (\d+), crun some (\d+);", page)
    assert said
    record = json.loads(figures.RECORD.read_text())
    memory = next(line["values"] for line in record["besides"] if line["title"] == "a waiting init")
    for figure, name in zip(said.groups(), ("ocipy", "runc 1.5", "crun 1.8"), strict=True):
        (measured,) = [value for one, value in memory.items() if one.startswith(name)]
        assert measured / 1.34 < int(figure) < measured * 1.34, name


def test_a_missed_target_is_named() -> None:
    record = json.loads(figures.RECORD.read_text())
    record["targets"] = [["run true", 0.7, 0.6, False], ["podman run", 0.5, 1.0, True]]
    assert "Missed targets: run true 0.70 (at most 0.6).\n" in figures.table(record)


def test_other_measurements_have_bars_too() -> None:
    lines = [
        besides.Line("a waiting init", "KiB Pss", {"ocipy": 2000, "runc": 1000}, 1.0),
        besides.Line("podman run", "ms", {"ocipy": 90, "runc": 100, "crun": 80}, 1.0),
        besides.Line("growth that is too much", "", {"ocipy": 1.15, "runc": 1.3}, 1.1, alone=True),
        besides.Line("growth that is not", "", {"ocipy": 1.05, "runc": 0.9}, 1.1, alone=True),
    ]
    assert [met for *_, met in besides.bars(lines, "ocipy", "runc")] == [False, True, False, True]
    text = besides.table(lines, ["ocipy", "runc", "crun"], "runc")
    assert "2000.00 (2.00)" in text
    assert "80.00 (0.80)" in text


def test_a_failed_measurement_has_a_line_with_the_reason() -> None:
    def fails() -> list[besides.Line]:
        raise CallError("criu:\n  no")

    lines = besides.attempted("checkpoint", fails)
    lines += besides.attempted("podman", lambda: [besides.Line("podman run", "ms", {"ocipy": 9, "runc": 10}, 1.0)])
    text = besides.table(lines, ["ocipy", "runc"], "runc")
    assert "9.00 (0.90)" in text and text.endswith("\ncheckpoint: not measured: criu: no")
    assert [met for *_, met in besides.bars(lines, "ocipy", "runc")] == [True]
    assert not cli._judge([], lines) and cli._judge([], lines[1:])
    record = json.loads(figures.RECORD.read_text()) | {"besides": besides.document(lines), "targets": []}
    said = figures.table(record)
    assert "Not measured: checkpoint. All other targets are met." in said and "| checkpoint" not in said


SIGNALLED = """
import os, signal, sys
sys.path.insert(0, {top!r})
from bench import besides, ending
from bench.measure import CallError
ending.on_signals()
def interrupted():
    try:
        os.kill(os.getpid(), signal.{name})
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        raise CallError("the clean-up failed")
besides.attempted("crowd", interrupted)
print("measured on")
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_it_even_if_the_clean_up_fails(name: str, status: int) -> None:
    """No second signal interrupts the clean-up."""
    script = SIGNALLED.format(top=str(figures.TOP), name=name)
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, "")


HOST = """#!/usr/bin/env python3
import os, pathlib, signal, time
def end(*_):
    time.sleep(0.2)
    pathlib.Path(__file__).with_name("cleaned").touch()
    raise SystemExit(143)
signal.signal(signal.SIGTERM, end)
os.kill(os.getppid(), signal.SIGUSR1)
time.sleep(60)
"""


def test_a_signal_ends_the_host_that_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "TOP", tmp_path)
    program = tmp_path / "bench/run"
    program.parent.mkdir()
    program.write_text(HOST)
    before = signal.signal(signal.SIGUSR1, lambda *_: sys.exit(1))
    try:
        with pytest.raises(SystemExit):
            hosts.run_on("v1", [], tmp_path / "document")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert program.with_name("cleaned").exists()


def test_without_an_environment_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    copy = shutil.copy(figures.TOP / "bench/run", tmp_path / "bench/run")
    done = subprocess.run([copy], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"bench/run: there is no {tmp_path}/.venv/bin/python: run make setup\n"


def test_a_line_may_have_another_base_or_no_base() -> None:
    lines = [
        besides.Line("50 creates at once", "ms", {"ocipy": 90, "runc": 100, "crun": 80}, 1.0, base="crun"),
        besides.Line("smallest limit", "KiB", {"ocipy": 390, "runc": 2000}, 400, alone=True),
        besides.Line("list", "ms", {"ocipy": 3, "runc": 6}, None),
    ]
    assert besides.bars(lines, "ocipy", "runc") == [
        ("50 creates at once", 1.125, 1.0, False),
        ("smallest limit, KiB", 390, 400, True),
    ]
    assert "90.00 (1.12)" in besides.table(lines, ["ocipy", "runc", "crun"], "runc")


def test_the_libraries_that_ldd_lists() -> None:
    listing = """\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibcap.so.2 => /lib/x86_64-linux-gnu/libcap.so.2 (0x00007f)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f)
"""
    assert libraries_of(listing) == [
        ("libcap.so.2", "/lib/x86_64-linux-gnu/libcap.so.2"),
        ("ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
    ]


def test_growth_is_what_a_slower_machine_does_not_explain() -> None:
    slower_meanwhile = (Pace(create=10, state=2), Pace(create=22, state=4))
    faster_meanwhile = (Pace(create=20, state=4), Pace(create=10, state=2))
    much = (Pace(create=10, state=2), Pace(create=30, state=2))
    crowd = Crowd(1000, [much, slower_meanwhile, faster_meanwhile], list_all=5)
    assert crowd.growth == pytest.approx(1.1)
    assert (crowd.medians(0), crowd.medians(1)) == (Pace(10, 2), Pace(22, 2))


def test_a_trace_is_split_at_the_marks() -> None:
    marks = (
        phases.Phase("first", r"^execveat"),
        phases.Phase("missing", r"^never"),
        phases.Phase("second", r"^exit", "init"),
    )
    lines = [(1.0, True, "execve()"), (1.002, True, "execveat()"), (1.003, True, "exit()"), (1.007, False, "exit()")]
    times = phases.split(lines, marks)
    assert {name: round(value, 3) for name, value in times.items()} == {"first": 2.0, "second": 5.0}


def test_medians_keep_the_order_of_the_phases() -> None:
    first, second = phases.PHASES[0].name, phases.PHASES[1].name
    assert list(phases.medians([{second: 1.0, first: 2.0}])) == [first, second]


@pytest.mark.parametrize("args", [["true"], ["sleep", "1000"]])
def test_the_bundle_is_valid(args: list[str]) -> None:
    assert check(config(args)) is None

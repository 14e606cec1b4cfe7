"""The recorded run in the pages: `make figures` measures, writes docs/benchmarks.json and docs/benchmarks.svg, and this
module writes the figures of that file into README.md and docs/benchmarks.md. A unit test compares them."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from bench.measure import OPERATIONS
from bench.report import TITLES, about

TOP = Path(__file__).resolve().parents[1]
RECORD = TOP / "docs/benchmarks.json"
IDLE = 0.5  # the highest load of a machine that does nothing else
BEGIN, END = "<!-- figures: make figures -->\n", "<!-- end of figures -->\n"


def in_benchmarks(page: str, record: dict[str, Any]) -> str:
    """docs/benchmarks.md with the table of a record between its marks. Raises ValueError if they are not there."""
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return page[:begin] + "\n" + table(record) + "\n" + page[end:]


def table(record: dict[str, Any]) -> str:
    """A record in Markdown: a row for each operation, then for each other measurement, and the targets."""
    names = [one["name"] for one in record["runtimes"]]
    rows = [["", *names]]
    for operation in OPERATIONS:
        figures = [one["operations"][operation] for one in record["runtimes"]]
        title = re.sub(r"\btrue$", "`true`", TITLES.get(operation, operation))
        rows.append([title, *(_cell(f"{one['median_ms']:.1f}", one["ratio"]) for one in figures)])
    for line in record["besides"]:
        if "failure" in line:
            continue
        base = line["values"].get(record["base"])
        title = line["title"]
        if line["unit"] not in ("ms", ""):
            title += f", {line['unit']}"
        cells = []
        for name in names:
            value = line["values"].get(name)
            text = (
                ""
                if value is None
                else f"{value:.2f}"
                if line["unit"] == ""
                else f"{value:.{1 if value < 100 else 0}f}"
            )
            cells.append(_cell(text, value / base if value is not None and base and line["unit"] else None))
        rows.append([title, *cells])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    missed = [f"{title} {figure:.2f} (at most {bar})" for title, figure, bar, met in record["targets"] if not met]
    busy = record["host"]["load"] > IDLE
    verdict = "The machine was busy, so expect other ratios on an idle one. " if busy else ""
    unmeasured = [line["title"] for line in record["besides"] if "failure" in line]
    if unmeasured:
        verdict += f"Not measured: {'; '.join(unmeasured)}. "
    met = "All other targets are met." if unmeasured else "All targets are met."
    verdict += f"Missed targets: {'; '.join(missed)}." if missed else met
    host = about(record["host"], record["rounds"])
    head = textwrap.fill(f"{host}; medians in ms, and ratios to {record['base']}:", 120) + "\n\n"
    return "\n".join([head + lines[0], "|" + "---|" * len(rows[0]), *lines[1:], "", textwrap.fill(verdict, 120), ""])


def _cell(text: str, ratio: float | None) -> str:
    return f"{text} ({ratio:.2f})" if text and ratio is not None and ratio != 1 else text


def in_readme(page: str, record: dict[str, Any]) -> str:
    """README.md with the ratios of a record in the rows that compare runtimes."""
    ours, *others = record["runtimes"]
    crun = next((one for one in reversed(others) if one["name"].startswith("crun")), None)
    for operation, name in (("run", "run"), ("exec", "exec")):
        figures = [f"[{ours['operations'][operation]['ratio']:.2f}](docs/benchmarks.md)", "1"]
        figures.append(f"{crun['operations'][operation]['ratio']:.2f}" if crun else "")
        row = f"| time of `{name} true`, relative to {record['base']} | {' | '.join(figures)} |"
        page = re.sub(rf"^\| time of `{name} true`, .*$", row, page, flags=re.MULTILINE)
    return page


def main() -> None:
    """Write the figures into the pages."""
    record = json.loads(RECORD.read_text())
    for path, put in ((TOP / "README.md", in_readme), (TOP / "docs/benchmarks.md", in_benchmarks)):
        path.write_text(put(path.read_text(), record))


if __name__ == "__main__":
    main()

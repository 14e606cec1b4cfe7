"""The commands that make no container: what each takes, compared with runc's `features`."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench.besides import Line, attempted
from bench.measure import Bench, CallError, timed
from bench.runtimes import Contestant

SHARED = {
    "--help": ["--help"],
    "features": ["features"],
    "spec": ["spec", "--bundle"],
    "a usage error": ["no-such-command"],
}
OURS = {"validate": ["validate"], "plan": ["plan"]}
BAR, OURS_BAR = 1.0, 2.0


def measure_quick(
    bench: Bench, contestants: list[Contestant], base: str, rounds: int, tell: Callable[[str], None]
) -> list[Line]:
    """A line for each command. Commands that only ours has are compared with `features` of the base."""
    return attempted("commands", lambda: _measure(bench, contestants, base, rounds, tell))


def _measure(
    bench: Bench, contestants: list[Contestant], base: str, rounds: int, tell: Callable[[str], None]
) -> list[Line]:
    commands = SHARED | {title: [*words, str(bench.run_bundle)] for title, words in OURS.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(-2, rounds):
        for title, words in commands.items():
            for contestant in contestants if title in SHARED else contestants[:1]:
                needed = contestant is contestants[0] or contestant.name == base
                milliseconds = _once(bench, contestant, words, fails=title == "a usage error", needed=needed)
                if number >= 0 and milliseconds is not None:
                    times.setdefault((title, contestant.name), []).append(milliseconds)
        tell(f"commands, round {number + 1} of {rounds}")
    medians = {key: statistics.median(values) for key, values in times.items()}
    lines = [
        Line(title, "ms", {name: value for (one, name), value in medians.items() if one == title}, BAR)
        for title in SHARED
    ]
    features = medians["features", base]
    ours = contestants[0].name
    lines += [
        Line(f"{title}, compared with features", "ms", {ours: medians[title, ours], base: features}, OURS_BAR)
        for title in OURS
    ]
    return lines


def _once(bench: Bench, contestant: Contestant, words: list[str], *, fails: bool, needed: bool) -> float | None:
    """ms of one call; None if another runtime has no such command. Raises CallError if it is needed."""
    written = bench.scratch / "spec" / "config.json"
    written.parent.mkdir(exist_ok=True)
    if words[-1] == "--bundle":
        words = [*words, str(written.parent)]
    try:
        return timed([contestant.path, *words], bench.out, fails=fails)
    except CallError:
        if needed:
            raise
        return None
    finally:
        written.unlink(missing_ok=True)

"""Lists of CPUs and memory nodes, in the form of cpuset(7): 0-3,7."""

from __future__ import annotations


def parse_list(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as "0-3,7", sorted, each once; none for "". config/ has checked it."""
    numbers: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(numbers))

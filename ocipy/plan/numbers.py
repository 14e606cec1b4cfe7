"""Lists of CPUs and memory nodes, in the form of cpuset(7): 0-3,7."""

from __future__ import annotations

from ocipy.errors import Error

# No kernel has more CPUs or nodes than this; it keeps a typing error from becoming a list of millions.
HIGHEST = 8191


def parse_list(text: str, pointer: str) -> tuple[int, ...]:
    """The numbers of a list such as "0-3,7", ascending, each once; none for "". Raises Error."""
    numbers: set[int] = set()
    if not text.strip():
        return ()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise Error(f"{text!r} is not a list such as 0-3,7", pointer=pointer)
        low = int(first)
        high = int(last) if dash else low
        if low > high:
            raise Error(f"the range {part.strip()!r} runs backwards", pointer=pointer)
        if high > HIGHEST:
            raise Error(f"{high} is more than {HIGHEST}", pointer=pointer)
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10

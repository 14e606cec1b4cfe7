"""Sizes, CPU shares and other numbers as docker and the articles write them. Pure."""

from __future__ import annotations

from ocipy import Error

# docker's: powers of 1024, with or without "b" or "ib".
UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
SHOWN_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
CPU_PERIOD = 100_000  # microseconds: the kernel's default (sched-bwc.rst)
# The smallest quota that cpu.cfs_quota_us accepts (sched-bwc.rst).
LEAST_QUOTA = 1000


def parse_size(text: str, flag: str) -> int:
    """Bytes from "50M", "1.5g", "64kb" or "4096". Raises Error."""
    word = text.strip().lower()
    digits = word.rstrip("bikmgtp")
    unit = word[len(digits) :].removesuffix("b").removesuffix("i")
    try:
        size = _times(digits, UNITS[unit])
    except (KeyError, ValueError, ZeroDivisionError):
        size = -1
    if size < 0 or "/" in digits:
        raise Error(f"{flag} takes a size such as 50M or 1.5g, not {text!r}", status=2)
    return size


def _times(number: str, factor: int) -> int:
    """A decimal number times `unit`, rounded only at the end. Raises ValueError, ZeroDivisionError."""
    if number.isdecimal():
        return int(number) * factor
    from fractions import Fraction  # 5 ms to import

    return int(Fraction(number) * factor)


def shown_size(size: int) -> str:
    """A size for people: "50.0 MiB"; numbers below 1 KiB without a unit."""
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, len(SHOWN_UNITS))
    return f"{size / (1 << 10 * power):.1f} {SHOWN_UNITS[power - 1]}"


def parse_cpus(text: str) -> tuple[int, int]:
    """(quota, period) in microseconds for so many CPUs: "0.5", "2". Raises Error."""
    try:
        quota = _times(text, CPU_PERIOD)
    except (ValueError, ZeroDivisionError):
        quota = 0
    if quota < LEAST_QUOTA or "/" in text:
        raise Error(f"--cpus takes a number of CPUs such as 0.5, not {text!r}", status=2)
    return quota, CPU_PERIOD


def parse_cpu(text: str) -> tuple[int, int]:
    """(quota, period) in microseconds from the articles' form: "50000 100000"; "max" is no quota. Raises Error."""
    words = [word for word in text.split(" ") if word]
    if len(words) in (1, 2):
        quota, period = words[0], words[1] if len(words) == 2 else str(CPU_PERIOD)
        if period.isdecimal() and int(period) > 0 and (quota == "max" or quota.isdecimal()):
            return -1 if quota == "max" else int(quota), int(period)
    raise Error(f'--cpu takes a quota and a period in microseconds, such as "50000 100000", not {text!r}', status=2)

"""Sizes, CPU shares and other numbers as docker and the articles write them. Pure."""

from __future__ import annotations

from ocipy import Error

# docker's: powers of 1024, with or without "b" or "ib".
UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
LARGEST = (1 << 63) - 1  # the kernel counts no further
SHOWN_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
MOST_DIGITS = 1000
LONGEST_WAIT = 1e9  # seconds
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
    except (KeyError, ValueError):
        size = -1
    if size > LARGEST:
        raise Error(f"{flag} {word[:40]} is more than the kernel can count", hint="at most 8191p", status=2)
    if size < 0 or (size == 0 and digits.strip("0.")):  # 0 means no limit, but less than a byte does not
        raise Error(f"{flag} takes a size such as 50M or 1.5g, not {text!r}", status=2)
    return size


def is_number(text: str) -> bool:
    """Whether it consists of digits as the kernel and the C library read them, and of no more than int() converts."""
    return text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS


def integer(text: str) -> int:
    """A number that may be negative. Raises ValueError, as argparse expects of a type."""
    if not is_number(text.removeprefix("-")):
        raise ValueError(text)
    return int(text)


def seconds(text: str) -> float:
    """A time to wait, with or without a fraction. Raises ValueError, as argparse expects of a type."""
    if not is_number(text.replace(".", "", 1)) or float(text) > LONGEST_WAIT:
        raise ValueError(text)
    return float(text)


def _times(number: str, factor: int) -> int:
    """A decimal number times `factor`, rounded only at the end. Raises ValueError."""
    if is_number(number):
        return int(number) * factor
    from decimal import Decimal, InvalidOperation  # its import takes some milliseconds

    try:
        if set(number) - set("0123456789.e+-"):  # Decimal also takes nan, 1_0, and the digits of every script
            raise ValueError(number)
        return int(min(Decimal(number), Decimal(LARGEST + 1)) * factor)  # 1e999999999 would fill the memory
    except InvalidOperation:
        raise ValueError(number) from None


def shown_size(size: int) -> str:
    """A size as users read it: "50.0 MiB", or "512 B"."""
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, len(SHOWN_UNITS))
    return f"{size / (1 << 10 * power):.1f} {SHOWN_UNITS[power - 1]}"


def parse_cpus(text: str) -> tuple[int, int]:
    """(quota, period) in microseconds for a number of CPUs: "0.5", "2". Raises Error."""
    try:
        quota = _times(text, CPU_PERIOD)
    except ValueError:
        quota = 0
    if not LEAST_QUOTA <= quota <= LARGEST:
        raise Error(f"--cpus takes a number of CPUs such as 0.5, not {text!r}", status=2)
    return quota, CPU_PERIOD


def parse_cpu(text: str) -> tuple[int, int]:
    """(quota, period) in microseconds from the articles' form: "50000 100000"; "max" means no quota. Raises Error."""
    words = [word for word in text.split(" ") if word]
    if len(words) in (1, 2):
        quota, period = words[0], words[1] if len(words) == 2 else str(CPU_PERIOD)
        if is_number(period) and int(period) > 0 and (quota == "max" or is_number(quota)):
            return -1 if quota == "max" else int(quota), int(period)
    raise Error(f'--cpu takes a quota and a period in microseconds, such as "50000 100000", not {text!r}', status=2)

"""What the patterns of config.json's description accept, without regular expressions (importing re costs 10 ms).

Hot. description/values.py has the patterns; tests/unit/config/test_patterns.py holds the two together.
"""

from __future__ import annotations


def rlimit_name(text: str) -> bool:
    """RLIMIT_ and capital letters."""
    prefix, _, name = text.partition("_")
    return prefix == "RLIMIT" and name.isascii() and name.isalpha() and name.isupper()


def cpu_list(text: str) -> bool:
    """Digits, commas, spaces and dashes only; semantic.py checks their order."""
    return not text.strip("0123456789, -")


def page_size(text: str) -> bool:
    """A number without leading zero, and KB, MB or GB: as in the file names of the hugetlb controller."""
    number = text[:-2]
    return text[-2:] in ("KB", "MB", "GB") and number.isascii() and number.isdigit() and number[0] != "0"


def device_type(text: str) -> bool:
    """c, b, u or p: mknod(1)."""
    return len(text) == 1 and text in "cbup"


def bandwidth_schema(text: str) -> bool:
    """One line that begins with MB: (resctrl)."""
    return text[:3] == "MB:" and "\n" not in text

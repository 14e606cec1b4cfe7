"""Signals by name and number (signal(7), the numbers of x86, arm and most others)."""

from __future__ import annotations

from ocipy.errors import Error

NUMBERS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
    "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17,
    "CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26,
    "PROF": 27, "WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31, "RTMIN": 34, "RTMAX": 64,
}  # fmt: skip
LAST = 64


def number(text: str) -> int:
    """Return the signal named TERM, SIGTERM, sigterm, 15 or RTMIN+3. Raises Error."""
    if text.isascii() and text.isdigit():
        value = int(text)
        if 0 <= value <= LAST:
            return value
    name = text.upper().removeprefix("SIG")
    if name in NUMBERS:
        return NUMBERS[name]
    for base, sign in (("RTMIN+", 1), ("RTMAX-", -1)):
        offset = name[len(base) :]
        if name.startswith(base) and offset.isascii() and offset.isdigit():
            value = NUMBERS[base[:5]] + sign * int(offset)
            if NUMBERS["RTMIN"] <= value <= NUMBERS["RTMAX"]:
                return value
    raise Error(f'unknown signal "{text}"', hint="give a name such as TERM or SIGTERM, or a number from 1 to 64")

"""SIGTERM and SIGINT end the benchmark, after the clean-up of the host."""

from __future__ import annotations

import signal
import sys

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_received: list[int] = []


def on_signals() -> None:
    """From now on, these signals raise SystemExit."""
    for number in SIGNALS:
        signal.signal(number, _end)


def _end(number: int, _frame: object) -> None:
    for other in SIGNALS:  # do not interrupt the clean-up: timeout(1) sends two
        signal.signal(other, signal.SIG_IGN)
    _received.append(number)
    check()


def check() -> None:
    """Raises SystemExit if a signal was received: an error of the clean-up may have replaced the first one."""
    if _received:
        sys.exit(128 + _received[0])

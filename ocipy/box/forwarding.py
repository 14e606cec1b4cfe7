"""Forwards signals to a box."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import Any

from ocipy import Container, Error


class Forwarding:
    """While entered, signals that ask us to end are forwarded to the box: we end when it does."""

    NUMBERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)

    def __init__(self, container: Container) -> None:
        self.container = container
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread can set handlers (signal(3py)): a threaded program forwards signals itself
        for number in self.NUMBERS:
            # The terminal also sends these to the runtime, which forwards them itself.
            from_terminal = number in (signal.SIGINT, signal.SIGQUIT)
            self.before[number] = signal.signal(number, signal.SIG_IGN if from_terminal else self._pass_on)

    def _pass_on(self, number: int, _frame: object) -> None:
        with suppress(Error):
            self.container.kill(number)

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

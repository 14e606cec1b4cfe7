"""Fixtures of the unit tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, which the test may close."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """No test blocks or ignores a signal for those that follow it, and for all that they execute."""
    before = _signals()
    yield
    after = _signals()
    assert after == before, "signals blocked, ignored"


def _signals() -> list[int]:
    """Blocked, ignored; but for 32 and 33, which are libc's own: nptl(7)."""
    with open("/proc/self/status") as status:
        masks = [int(line[8:], 16) for line in status if line.startswith(("SigBlk", "SigIgn"))]
    return [mask & ~(0b11 << 31) for mask in masks]

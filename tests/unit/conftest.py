"""Fixtures of the unit tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import prctl
import pytest


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe; the test may close them."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.fixture(autouse=True)
def no_adoption() -> Iterator[None]:
    """Adopt no orphans, although the integration tests of the same session do: a test may look for its children."""
    adopts = prctl.get_child_subreaper()
    prctl.set_child_subreaper(False)
    yield
    prctl.set_child_subreaper(adopts)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Check that no test leaves a signal blocked or ignored for later tests and the programs that they execute."""
    before = _signals()
    yield
    after = _signals()
    assert after == before, "signals blocked, ignored"


def _signals() -> list[int]:
    """The blocked and ignored signals, except 32 and 33, which libc uses: nptl(7)."""
    with open("/proc/self/status") as status:
        masks = [int(line[8:], 16) for line in status if line.startswith(("SigBlk", "SigIgn"))]
    return [mask & ~(0b11 << 31) for mask in masks]

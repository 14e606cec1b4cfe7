"""A plugin for pytest that keeps the coverage of forked children: they leave by _exit(2), which saves nothing.

A child that executes a program, changes its root, or is killed still saves nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import posix
from typing import NoReturn

import coverage

from ocipy.linux import _kernel

_counters = ctypes.CDLL(_kernel.__file__)  # it links libflush.so
_exit = posix._exit


def _save_and_exit(status: int) -> NoReturn:
    measured = coverage.Coverage.current()
    # The child's exit status is what the test looks at, so no failure here may change it.
    with contextlib.suppress(Exception):
        if measured is not None:
            measured.stop()
            measured.save()
        _counters.coverage_dump()
    _exit(status)


def pytest_configure() -> None:
    os.register_at_fork(after_in_child=_counters.coverage_reset)
    posix._exit = _save_and_exit
    os._exit = _save_and_exit

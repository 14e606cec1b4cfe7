"""What others' tests run in: they attack and change what they take for a machine of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.harness.private import WRITABLE, make_private
from tests.harness.untouched import Untouched

# Suites have users, caches and configuration of their own there.
LEFT_WRITABLE = (*WRITABLE, Path("/etc"), Path("/home"), Path("/opt"), Path("/root"), Path("/var"))


@contextlib.contextmanager
def private_host() -> Iterator[list[str]]:
    """Namespaces of this process's own, where programs are read-only, and /dev and /proc not the host's.

    Gives a list that has, afterwards, a line for each thing of the host that has changed all the same.
    """
    changed: list[str] = []
    host = Untouched()
    make_private(LEFT_WRITABLE, ())
    host.begin()
    yield changed
    changed += [f"the host has changed: {line}" for line in host.thorough()]
    if changed:
        host.restore()

"""The namespaces for other projects' test suites, which treat the machine as their own: they change and attack it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.harness.private import WRITABLE, make_private
from tests.harness.untouched import Untouched

# Where suites keep their users, caches and configuration.
LEFT_WRITABLE = (*WRITABLE, Path("/etc"), Path("/home"), Path("/opt"), Path("/root"), Path("/var"))


@contextlib.contextmanager
def private_host() -> Iterator[list[str]]:
    """Enter new namespaces with read-only programs and a private /dev and /proc.

    Yields a list, to which a line for each change on the host is added at the end.
    """
    changed: list[str] = []
    host = Untouched()
    make_private(LEFT_WRITABLE, ())
    host.begin()
    yield changed
    changed += [f"the host has changed: {line}" for line in host.thorough()]
    if changed:
        host.restore()

"""ocipy start: let a created container run its process."""

from __future__ import annotations

import posix

from ocipy.cli import Arguments, Flag
from ocipy.container.lifecycle import start
from ocipy.container.state import load, lock

SUMMARY = "run the process of a created container"
USAGE = "ID"
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Start the container; returns once its process has been executed and the poststart hooks have run."""
    root = arguments.root
    container_id = arguments.one("the container's ID")
    state = load(root, container_id)
    lock_fd = lock(state.directory)
    try:
        start(load(root, container_id))
    finally:
        posix.close(lock_fd)
    return 0

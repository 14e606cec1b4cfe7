"""ocipy start: let a created container run its process."""

from __future__ import annotations

import posix

from ocipy.children.interrupts import catch
from ocipy.cli.arguments import Arguments, Flag
from ocipy.operations.lifecycle import run_poststart, start
from ocipy.state.directory import lock
from ocipy.state.state import load

SUMMARY = "run the process of a created container"
USAGE = "ID"
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Start the container; returns once its process has been executed and the poststart hooks have run."""
    root = arguments.root
    container_id = arguments.one("the container's ID")
    state = load(root, container_id)
    lock_fd = lock(state.directory)
    notifier = None
    try:
        state = load(root, container_id)
        if posix.environ.get(b"NOTIFY_SOCKET"):
            from ocipy.host.notify import listen

            notifier = listen(state)
        start(state)
    finally:
        posix.close(lock_fd)
    interrupts = -1
    if state.hooks.get("poststart"):
        # A hook that is interrupted has failed: it does not go on without us, nor does the container.
        interrupts = catch()
        run_poststart(state, interrupts)
    if notifier is not None:
        notifier.wait_for(state, interrupts)
    return 0

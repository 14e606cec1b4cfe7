"""start: let a created container run its process, and tell the service manager once it is ready."""

from __future__ import annotations

import posix

from ocipy.children.interrupts import catch
from ocipy.operations.lifecycle import run_poststart, start
from ocipy.state.directory import lock
from ocipy.state.state import load


def start_container(root: str, container_id: str) -> None:
    """Back once its process has been executed and the poststart hooks have run. Raises Error, OSError."""
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

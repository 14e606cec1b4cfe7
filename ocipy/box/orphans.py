"""Ends what a killed `ocipy box`, or an earlier run of a box, has left on the host: the runtime or conmon, working on
the box's bundle, and the command that conmon calls at the end."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from ocipy.box.pids import PATIENCE, open_called, wait_for_end

ENDED = "_ended"
"""The command of `ocipy box` that conmon, and nobody else, calls when a box has ended."""


def end_callers(bundle: str) -> None:
    """Kill each of our processes that works on a bundle, and wait until they are gone.

    We hold the box's lock, so no other process may work on it. conmon calls `ocipy box _ended` even if the container
    could not be created: that command would wait for the lock, and then end whatever runs by then.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        killed = list(_killed(bundle))  # what these have started in the meantime is found in the next round
        if not killed:
            return
        for fd in killed:
            wait_for_end(fd, max(deadline - time.monotonic(), 0))
            with suppress(OSError):
                os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)  # only our own child; other parents reap theirs
            os.close(fd)


def _killed(bundle: str) -> Iterator[int]:
    """A pidfd of each process that was killed."""
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        fd = open_called(int(name), lambda words: is_called_for(words, bundle))
        if fd is None:
            continue
        with suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == os.geteuid():
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                yield fd
                continue
        os.close(fd)


def is_called_for(words: list[bytes], bundle: str) -> bool:
    """Whether a command line names this bundle (the runtime's --bundle=PATH, conmon's --bundle PATH), or is the one
    that conmon calls at the end of its box."""
    path = os.fsencode(bundle)
    box_id = os.path.basename(os.path.dirname(path))
    return b"--bundle=" + path in words or any(
        pair in ((b"--bundle", path), (ENDED.encode(), box_id)) for pair in itertools.pairwise(words)
    )

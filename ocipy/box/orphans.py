"""The orphans of a killed `ocipy box` on the host: the runtime, or conmon, working on one of our bundles."""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import suppress

from ocipy.box.pids import open_called


def end_callers(bundle: str) -> None:
    """Kill every one of our processes that works on a bundle, and wait until they are gone.

    We hold the box's lock, so no other process may work on it.
    """
    held = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        fd = open_called(int(name), lambda words: is_called_for(words, bundle))
        if fd is None:
            continue
        with suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == os.geteuid():
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                held.append(fd)
                continue
        os.close(fd)
    for fd in held:
        with suppress(OSError):
            os.waitid(os.P_PIDFD, fd, os.WEXITED)  # only our own child; other parents reap theirs
        os.close(fd)


def is_called_for(words: list[bytes], bundle: str) -> bool:
    """Whether a command line names this bundle: the runtime's --bundle=PATH, or conmon's --bundle PATH."""
    path = os.fsencode(bundle)
    return b"--bundle=" + path in words or any(
        one == b"--bundle" and other == path for one, other in itertools.pairwise(words)
    )

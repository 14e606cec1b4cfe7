"""The orphans of a killed `ocipy box` on the host: the runtime, or conmon, working on one of our bundles."""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import suppress


def end_callers(bundle: str) -> None:
    """Kill every one of our processes that works on a bundle, and wait until they are gone.

    We hold the box's lock, so no other process may work on it. A pidfd opened before the check makes sure that the pid
    still means the same process (pidfd_open(2)).
    """
    held = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        with suppress(OSError):
            fd = os.pidfd_open(int(name))
            try:
                if is_called_for(read_words(name), bundle) and os.stat(f"/proc/{name}").st_uid == os.geteuid():
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    held.append(os.dup(fd))
            finally:
                os.close(fd)
    for fd in held:
        with suppress(OSError):
            os.waitid(os.P_PIDFD, fd, os.WEXITED)  # only our own child; other parents reap theirs
        os.close(fd)


def read_words(pid: str) -> list[bytes]:
    """Its command line (proc_pid_cmdline(5))."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")


def is_called_for(words: list[bytes], bundle: str) -> bool:
    """Whether a command line names this bundle: the runtime's --bundle=PATH, or conmon's --bundle PATH."""
    path = os.fsencode(bundle)
    return b"--bundle=" + path in words or any(
        one == b"--bundle" and other == path for one, other in itertools.pairwise(words)
    )

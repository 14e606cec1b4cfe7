"""The processes on the host that a killed `ocipy box` has left at work: the runtime, or conmon, on a bundle of ours."""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import suppress


def end_callers(bundle: str) -> None:
    """End every process of ours that was called for a bundle, and wait until they are gone.

    Nobody but we, who hold the box's lock, has business with it. Held by a pidfd from before the look on, so that its
    number cannot have become another's (pidfd_open(2)).
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
            os.waitid(os.P_PIDFD, fd, os.WEXITED)  # a child of ours; another's is reaped by its parent
        os.close(fd)


def read_words(pid: str) -> list[bytes]:
    """Its command line (proc_pid_cmdline(5))."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")


def is_called_for(words: list[bytes], bundle: str) -> bool:
    """Whether a command line names this bundle: --bundle=PATH as the runtime has it, or --bundle PATH as conmon."""
    path = os.fsencode(bundle)
    return b"--bundle=" + path in words or any(
        one == b"--bundle" and other == path for one, other in itertools.pairwise(words)
    )

"""The byte that an init process waits for (init/fifo.py)."""

from __future__ import annotations

import errno
import posix

from ocipy.init.fifo import AWAKE, DISMISSED
from ocipy.linux.constants import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_WRONLY


def wake(path: str) -> bool:
    """Let the init process that waits at this FIFO continue to its exec. False if it is dead: no reader."""
    return _write(path, AWAKE)


def dismiss(path: str) -> None:
    """End the init process that waits at this FIFO, if there is one."""
    try:
        _write(path, DISMISSED)
    except OSError:
        pass


def _write(path: str, word: bytes) -> bool:
    try:
        # Never open it blocking: init may have died (fifo(7)).
        fifo = posix.open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    posix.write(fifo, word)
    posix.close(fifo)
    return True

"""What a process reports by exec.report on its way to the exec (init/fifo.py): nothing, or why it failed."""

from __future__ import annotations

import posix

from ocipy.children.interrupts import check_interrupts
from ocipy.init.fifo import AWAKE, EXECUTING, FILTERED
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLHUP, POLLIN

# How long a process on its way to the exec may be silent before we look at it.
GLANCE_MS = 100
# Bytes: more than any error has (errors.LONGEST_TEXT).
MAX_MESSAGE = 65536


def read_to_end(report: int, name: str, pid: int, pidfd: int, interrupts: int) -> bytes:
    """Return what init writes until it executes or dies, which both close its end.

    name: what errors call it. Raises Error for a signal that ends us, and if others hold it up.
    """
    said = b""
    stopped = 0
    while len(said) < MAX_MESSAGE:
        ready = dict(_kernel.poll([(report, POLLIN), (pidfd, POLLIN), (interrupts, POLLIN)], GLANCE_MS))
        if not ready:
            from ocipy.host.held_up import glance

            stopped = glance(name, pid, pidfd, stopped)
        elif ready.get(report, 0) & (POLLIN | POLLHUP):
            data = posix.read(report, MAX_MESSAGE)
            said += data
            if not data:
                break
        elif pidfd in ready:
            # Its last words may have come between the kernel's looks at the two.
            if not _kernel.poll([(report, POLLIN)], 0):
                break
        else:
            check_interrupts(interrupts)
    return said


def raise_failure(said: bytes) -> None:
    """Raise the Error in init's message, if there is one."""
    told = said.lstrip(AWAKE + EXECUTING + FILTERED)
    if told:
        from ocipy.init.waiting import failure

        raise failure(_message(told))


def _message(data: bytes) -> dict[str, object]:
    try:
        message = _kernel.json_loads(data)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        message = {"what": "the init process sent a malformed message"}
    return message

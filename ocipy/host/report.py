"""What a process writes to exec.report on its way to the exec (init/fifo.py): its progress, or why it failed."""

from __future__ import annotations

import posix

from ocipy.children.interrupts import check_interrupts
from ocipy.init.fifo import AWAKE, EXECUTING, FILTERED
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLHUP, POLLIN

# How long a process on its way to the exec may be silent before we look at it.
GLANCE_MS = 100
# In bytes: more than the longest error (errors.LONGEST_TEXT).
MAX_MESSAGE = 65536


def read_to_end(report: int, name: str, pid: int, pidfd: int, interrupts: int) -> bytes:
    """Return what init writes until it executes its command or dies, either of which closes its end.

    name: what errors call it. Raises Error if a signal interrupts us, or if other processes keep stopping init.
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
            # The last bytes may have come after poll looked at report, but before it looked at pidfd.
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

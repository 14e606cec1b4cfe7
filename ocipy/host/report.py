"""What a process writes to exec.report on its way to the exec (init/fifo.py): its progress, or why it failed."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.children.interrupts import check_interrupts
from ocipy.init.fifo import AWAKE, EXECUTING, FILTERED, INIT_NAME
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLHUP, POLLIN
from ocipy.linux.files import read_file
from ocipy.linux.text import stat_fields

# How long a process on its way to the exec may be silent before we look at it.
GLANCE_MS = 100
# In bytes: more than the longest error (errors.LONGEST_TEXT).
MAX_MESSAGE = 65536
PF_EXITING = 0x4  # a flag in /proc/PID/stat, which only an internal header of the kernel defines


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


def warn_about_filter(said: bytes, container_id: str, name: str, pid: int) -> None:
    """Log a warning if a process with a seccomp filter was killed right before its exec: the filter may have done that.

    said: what the process wrote. name: what the warning calls it.
    """
    if FILTERED in said and _ends_without_exec(pid):
        log.warning(
            f"{container_id}: {name} was killed before it could execute the command: linux.seccomp may forbid a system "
            "call that this needs"
        )


def _ends_without_exec(pid: int) -> bool:
    """Whether the process is ending under the name that it had before its exec (proc_pid_stat(5))."""
    try:
        stat = read_file(f"/proc/{pid}/stat")
    except OSError:
        return False  # reaped already, or hidden
    return f"({INIT_NAME})".encode() in stat and bool(int(stat_fields(stat)[6]) & PF_EXITING)


def _message(data: bytes) -> dict[str, object]:
    try:
        message = _kernel.json_loads(data)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        message = {"what": "the init process sent a malformed message"}
    return message

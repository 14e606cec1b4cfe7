"""Signals that end a create (or the first part of a run): handled synchronously, so that everything can be undone.

They are blocked before anything is made, and checked wherever the host lane waits. One that comes too late stays
pending; `run` passes it on to the container's process.
"""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import SIGHUP, SIGINT, SIGQUIT, SIGTERM

NAMES = {SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGQUIT: "SIGQUIT", SIGTERM: "SIGTERM"}


def catch() -> int:
    """Block them, except those that the caller ignores (nohup), and return a signalfd (signalfd(2))."""
    # A blocked signal is queued even if it is ignored.
    numbers = [number for number in NAMES if not _kernel.signal_is_ignored(number)]
    return _kernel.signalfd(numbers or [SIGTERM])


def check_interrupts(fd: int) -> None:
    """Raise Error if a signal is pending. The exit status is what a shell reports for a death by that signal."""
    received = _kernel.read_signal(fd) if fd >= 0 else None
    if received is not None:
        raise Error(f"interrupted by {NAMES[received[0]]}", status=128 + received[0])

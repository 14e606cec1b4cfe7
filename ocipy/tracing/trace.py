"""--trace FILE: when each phase and each step of both lanes began and ended, as a Chrome trace (docs/performance.md).

Imported on request only. The code of a phase names it (ocipy/phases.py); the lanes go through other iterables of the
same steps (record.py), so nothing checks at each step whether tracing is on.
"""

from __future__ import annotations

import posix
from errno import ELOOP

from ocipy import log, phases
from ocipy.errors import Error, reported_as
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_TRUNC, O_WRONLY, S_IFMT, S_IFREG
from ocipy.tracing.record import Trace, clock

_running: list[Trace] = []


def begin(path: str, command: str) -> None:
    """Begin to trace. The file is opened and emptied first, so that a failure stops everything. Raises Error."""
    if not path.startswith("/"):
        path = posix.getcwd() + "/" + path
    with reported_as("cannot write the trace", pointer=path, hint={ELOOP: "symbolic links are not followed"}):
        write(path, b"")
    trace = Trace(path, command)
    _running.append(trace)
    phases.time_phases(trace.phase)


def running() -> Trace | None:
    """The trace in progress: an onlooker."""
    return _running[-1] if _running else None


def end(status: int) -> None:
    """Write the trace, if one was begun. A failure is only reported: the command is done."""
    phases.stop_timing()
    while _running:
        try:
            _finish(_running.pop(), status)
        except Error as error:
            log.write_stderr(f"ocipy: {error.line}\n")


def _finish(trace: Trace, status: int) -> None:
    """Write the file. Raises Error."""
    end = clock()
    from ocipy.launcher.python import complete_start

    complete_start()
    from ocipy.tracing.format import document, init_steps

    if trace.path.endswith(".html"):
        from ocipy.tracing.page import page_of

        data = page_of(trace, init_steps(trace, end), status, end).encode("utf-8", "replace")
    else:
        data = _kernel.json_dumps(document(trace, status, end)) + b"\n"
    with reported_as("cannot write the trace", pointer=trace.path):
        write(trace.path, data)


def write(path: str, data: bytes) -> None:
    """Write a regular file, accessible to the caller only if it is new. Raises OSError, Error."""
    # Open it by name each time: an open descriptor could be mistaken for one of the payload's.
    fd = posix.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
    try:
        if posix.fstat(fd).st_mode & S_IFMT != S_IFREG:
            raise Error("the trace is not a regular file", pointer=path)
        while data:
            data = data[posix.write(fd, data) :]
    finally:
        posix.close(fd)

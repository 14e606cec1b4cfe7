"""Work that needs all of Python (libseccomp, pyroute2), done in a child.

So neither the standard library nor its dependencies stay in the process that continues and becomes the container, and
any failure in a library becomes our error, not the end of the runtime.
"""

from __future__ import annotations

import posix

from ocipy.children.interrupts import check_interrupts
from ocipy.errors import Error, place_of, refused
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, POLLIN, SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def with_python(what: str, work: Callable[[], bytes], *, hint: str) -> bytes:
    """Like in_child, for work that imports a cold module. hint: for unexpected exceptions, not for an Error."""

    def work_with_python() -> bytes:
        from ocipy.launcher import python

        python.complete_start()
        return work()

    return in_child(what, work_with_python, hint=hint)


def in_child(what: str, work: Callable[[], bytes], *, hint: str = "", interrupts: int = -1) -> bytes:
    """Return what a function returns in a child. Raises its Error, one with the hint, or one for a signal
    (children/interrupts.py)."""
    reader, writer = posix.pipe2(O_CLOEXEC)
    pid = posix.fork()
    if pid == 0:
        _child(what, work, writer, hint)
    posix.close(writer)
    try:
        parts = read_all(reader, interrupts)
    except Error:
        posix.kill(pid, SIGKILL)
        posix.waitpid(pid, 0)
        raise
    finally:
        posix.close(reader)
    status = posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
    kind, _, answer = parts.partition(b"\n")
    if kind == b"done" and status == 0:
        return answer
    if kind == b"error":
        raise Error.from_message(_kernel.json_loads(answer))
    raise Error(f"{what} exited with status {status}", hint=hint)


def read_all(reader: int, interrupts: int) -> bytes:
    """Return what a child writes into a pipe until it exits. Raises Error for a signal (children/interrupts.py)."""
    parts: list[bytes] = []
    while True:
        _kernel.poll([(reader, POLLIN), (interrupts, POLLIN)], -1)
        check_interrupts(interrupts)
        part = posix.read(reader, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _child(what: str, work: Callable[[], bytes], writer: int, hint: str) -> NoReturn:
    status = 1
    try:
        try:
            answer = b"done\n" + work()
        except Error as error:
            answer = b"error\n" + _kernel.json_dumps(error.to_message())
        except OSError as error:
            file = error.filename if isinstance(error.filename, str) else ""
            failure = refused(error, place_of(error.__traceback__), file)
            answer = b"error\n" + _kernel.json_dumps(failure.to_message())
        except Exception as error:
            failure = Error(f"{what} failed: {type(error).__name__}: {error}", hint=hint)
            answer = b"error\n" + _kernel.json_dumps(failure.to_message())
        while answer:
            answer = answer[posix.write(writer, answer) :]
        status = 0
    finally:
        posix._exit(status)

"""A child with all of Python and a cold module that answers requests (children/once.py is for a single one).

It loads while we continue, and keeps what its requests share, such as a connection.
"""

from __future__ import annotations

import posix

from ocipy.children.interrupts import check_interrupts
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN, SIGKILL, SOCK_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    Answer = Callable[[bytes], bytes]

# Each message begins with its length, in this many bytes.
PREFIX = 4
# The first byte of an answer; main's answer or an error follows.
DONE, FAILED = b"+", b"-"


class Helper:
    """A child that answers requests one after the other.

    what: what it does, for errors. load: imports a cold module, and returns its function that answers.
    If our process ends without closing it, the child calls that function once more, without data, to undo its work.
    Until then the child holds the container's lock.
    """

    __slots__ = ("_fd", "_hint", "_pid", "_what")

    def __init__(self, what: str, load: Callable[[], Answer], *, hint: str) -> None:
        self._what = what
        self._hint = hint
        self._fd, theirs = _kernel.socketpair(SOCK_STREAM)
        self._pid = posix.fork()
        if self._pid == 0:
            posix.close(self._fd)
            _serve(what, load, theirs, hint)
        posix.close(theirs)

    def ask(self, data: bytes, interrupts: int = -1) -> bytes:
        """Return the answer. Raises the module's Error, one with the hint, or a signal's (children/interrupts.py)."""
        try:
            _send(self._fd, data)
            _kernel.poll([(self._fd, POLLIN), (interrupts, POLLIN)], -1)
            check_interrupts(interrupts)
            answer = _receive(self._fd)
        except OSError:
            answer = None
        if answer is None:
            status = posix.waitstatus_to_exitcode(posix.waitpid(self._pid, 0)[1])
            self._pid = 0
            raise Error(f"{self._what} exited with status {status}", hint=self._hint)
        if answer[:1] == FAILED:
            raise Error.from_message(_kernel.json_loads(answer[1:]))
        return answer[1:]

    def close(self) -> None:
        """End it, whatever it is doing; what it has done remains."""
        if self._fd < 0:
            return
        if self._pid:
            posix.kill(self._pid, SIGKILL)
            posix.waitpid(self._pid, 0)
        # Last, so that it does not see end of file.
        posix.close(self._fd)
        self._fd = -1


def _serve(what: str, load: Callable[[], Answer], fd: int, hint: str) -> NoReturn:
    status = 1
    try:
        answer = _load(what, load, hint)
        while (data := _receive(fd)) is not None:
            _send(fd, answer(data))
        answer(b"")
        status = 0
    finally:
        posix._exit(status)


def _load(what: str, load: Callable[[], Answer], hint: str) -> Answer:
    """Return the function that makes each message: the loaded function's answer or error, or why it was not loaded."""

    def unexpected(error: Exception) -> bytes:
        return _failed(Error(f"{what} failed: {type(error).__name__}: {error}", hint=hint))

    try:
        from ocipy.launcher import python

        python.complete_start()
        work = load()
    except Exception as error:
        failure = unexpected(error)
        return lambda _data: failure

    def answer(data: bytes) -> bytes:
        try:
            return DONE + work(data)
        except Error as error:
            return _failed(error)
        except Exception as error:
            return unexpected(error)

    return answer


def _failed(error: Error) -> bytes:
    return FAILED + _kernel.json_dumps(error.to_message())


def _send(fd: int, data: bytes) -> None:
    data = len(data).to_bytes(PREFIX, "little") + data
    while data:
        data = data[_kernel.send(fd, data) :]


def _receive(fd: int) -> bytes | None:
    """Return the next message, None at end of file."""
    length = _read(fd, PREFIX)
    return None if length is None else _read(fd, int.from_bytes(length, "little"))


def _read(fd: int, size: int) -> bytes | None:
    parts = []
    while size > 0:
        part = posix.read(fd, min(size, 65536))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

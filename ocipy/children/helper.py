"""A child with all of Python and a cold module that answers requests (children/once.py is for a single one).

It loads while we continue, and keeps what its requests share, such as a connection.
"""

from __future__ import annotations

import posix
import sys

from ocipy.children.interrupts import check as check_interrupts
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN, SIGKILL, SOCK_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Each message begins with its length, in this many bytes.
PREFIX = 4
# The first byte of an answer; main's answer or an error follows.
DONE, FAILED = b"+", b"-"


class Helper:
    """A child that answers requests one after the other, by the function main of a cold module.

    If we end without having closed it, main is called once more, without data, to undo its work; until that is done it
    holds the container's lock.
    """

    __slots__ = ("_fd", "_hint", "_module", "_pid")

    def __init__(self, module: str, *, hint: str) -> None:
        self._module = module
        self._hint = hint
        self._fd, theirs = _kernel.socketpair(SOCK_STREAM)
        self._pid = posix.fork()
        if self._pid == 0:
            posix.close(self._fd)
            _serve(module, theirs, hint)
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
            raise Error(f"{self._module} exited with status {status}", hint=self._hint)
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


def _serve(module: str, fd: int, hint: str) -> NoReturn:
    status = 1
    try:
        failure = _load(module, hint)
        while (data := _receive(fd)) is not None:
            _send(fd, _answer(module, data, hint) if failure is None else FAILED + _as_bytes(failure))
        if failure is None:
            _answer(module, b"", hint)
        status = 0
    finally:
        posix._exit(status)


def _answer(module: str, data: bytes, hint: str) -> bytes:
    try:
        answer: bytes = sys.modules[module].main(data)
    except Error as error:
        return FAILED + _as_bytes(error)
    except Exception as error:
        return FAILED + _as_bytes(_unexpected(module, error, hint))
    return DONE + answer


def _as_bytes(error: Error) -> bytes:
    return _kernel.json_dumps(error.to_message())


def _load(module: str, hint: str) -> Error | None:
    try:
        from ocipy.launcher import python

        python.complete_start()
        __import__(module)
    except Exception as error:
        return _unexpected(module, error, hint)
    return None


def _unexpected(module: str, error: Exception, hint: str) -> Error:
    return Error(f"{module} failed: {type(error).__name__}: {error}", hint=hint)


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

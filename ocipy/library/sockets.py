"""Sockets at which the executable hands over a descriptor: --console-socket and --pidfd-socket."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tempfile
from typing import Self

from ocipy.errors import Error
from ocipy.library.records import TimeoutExpired

NAME = "socket"
# The sender describes the descriptor; nobody needs that here.
LONGEST_WORD = 4096


class Receiver:
    """A listening socket in a private directory. Use it in a with statement, or close it."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="ocipy-")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            handle = os.open(self._directory, os.O_PATH | os.O_CLOEXEC)
            try:
                # TMPDIR may be longer than the 107 bytes of unix(7).
                self._socket.bind(f"/proc/self/fd/{handle}/{NAME}")
            finally:
                os.close(handle)
            self._socket.listen(1)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __fspath__(self) -> str:
        return f"{self._directory}/{NAME}"

    def fileno(self) -> int:
        """The descriptor to poll: readable once a sender has connected."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening. Received descriptors stay open."""
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _receive(self, timeout: float | None) -> int:
        """The descriptor of the next message, close-on-exec. Raises Error, TimeoutExpired."""
        self._socket.settimeout(timeout)
        try:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(timeout)
                _, descriptors, _, _ = socket.recv_fds(connection, LONGEST_WORD, 1)
        except (TimeoutError, BlockingIOError):
            raise TimeoutExpired(["receive"], timeout or 0.0) from None
        if not descriptors:
            raise Error("the socket received no descriptor", pointer=os.fspath(self))
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]


class PidfdReceiver(Receiver):
    """Receives the pidfd of a process."""

    def receive(self, timeout: float | None = None) -> int:
        """The pidfd, which the caller closes. Raises Error, TimeoutExpired."""
        return self._receive(timeout)


class ConsoleSocket(Receiver):
    """Receives the terminal of a process: pass it as console_socket, then call receive.

    It is a path (os.PathLike) and a context manager, and can be polled.
    """

    def receive(self, timeout: float | None = None) -> io.FileIO:
        """The terminal's master, unbuffered, for reading and writing: writing is typing, reading gives the output.

        Reading fails with EIO once all of the container's side is closed (pty(7)). termios.tcsetwinsize sets its size.
        timeout: in seconds. Raises Error, TimeoutExpired.
        """
        return io.FileIO(self._receive(timeout), "r+")

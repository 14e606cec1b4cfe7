"""Terminals: an engine's --console-socket, and a user's terminal."""

from __future__ import annotations

import os
import select
import socket
import termios
import time
from pathlib import Path

from tests.harness.host import scaled
from tests.harness.runtime import Runtime


class Console:
    """A --console-socket like an engine's: it listens, and accepts only on request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        directory = os.open(path.parent, os.O_PATH)
        self.server.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)
        self.server.listen(1)
        self.server.settimeout(scaled(10))
        self.name = b""
        self.master = -1

    def accept(self) -> int:
        """The master, which is the only file descriptor in the only message."""
        connection, _ = self.server.accept()
        with connection:
            self.name, fds, flags, _ = socket.recv_fds(connection, 4096, 8)
            assert not flags & socket.MSG_CTRUNC
            assert len(fds) == 1
            assert self.name
            assert connection.recv(1) == b"", "nothing follows"
        self.master = fds[0]
        return self.master

    def close(self) -> None:
        self.server.close()
        if self.master >= 0:
            os.close(self.master)


class UserTerminal:
    """A call of the runtime on a new terminal, as a user makes it."""

    def __init__(self, runtime: Runtime, *words: str | Path, rows: int = 33, columns: int = 99) -> None:
        self.master, self.peer = os.openpty()
        termios.tcsetwinsize(self.peer, (rows, columns))
        self.before = termios.tcgetattr(self.peer)
        self.running = runtime.begin(
            *words, stdin=self.peer, stdout=self.peer, stderr=self.peer, start_new_session=True
        )

    def close(self) -> None:
        self.running.process.kill()
        self.running.process.wait()
        os.close(self.master)
        os.close(self.peer)


def read_until(master: int, word: str) -> str:
    """Read from a terminal until the word appears. Converts line ends to newlines."""
    seen = b""
    wanted = word.replace("\n", "\r\n").encode()
    end = time.monotonic() + scaled(10)
    while wanted not in seen:
        assert select.select([master], [], [], max(0, end - time.monotonic()))[0], f"{word!r} is not in {seen!r}"
        try:
            part = os.read(master, 4096)
        except OSError:
            part = b""
        assert part, f"{word!r} is not in {seen!r}"
        seen += part
    return seen.decode(errors="replace").replace("\r\n", "\n")

"""`box attach`: connects our streams to those of a box in the background, through conmon's socket.

The socket is SOCK_SEQPACKET. The first byte of a packet from conmon names its stream; packets to conmon are raw
standard input. The terminal's size goes through the FIFO `ctl`, as "1 ROWS COLUMNS" (conmon's protocol).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType

from ocipy import Error
from ocipy.box.box import Box
from ocipy.errors import caused_by

STDERR = 3
LONGEST = 65536
DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q, docker's


def attach(box: Box) -> int:
    """Stay until the box ends or Ctrl-P Ctrl-Q is typed; return the box's exit status. Raises Error."""
    if not box.is_running() or not box.record.monitor:
        hint = "ocipy box ps lists the running boxes"
        raise Error(f"box {box.record.name} is not running in the background", hint=hint)
    directory = os.open(box.directory.bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        # The path may be longer than the 107 bytes of unix(7).
        connection.connect(f"/proc/self/fd/{directory}/attach")
    except OSError as error:
        connection.close()
        raise caused_by(error, "cannot reach conmon", pointer=f"{box.directory.bundle}/attach") from None
    finally:
        os.close(directory)
    terminal = box.record.request.terminal and os.isatty(0)
    with connection, raw(box) if terminal else contextlib.nullcontext():
        detached = copy(connection)
    if detached:
        return 0
    return box.wait() if not box.record.remove else 0


def copy(connection: socket.socket) -> bool:
    """Copy both ways until the other side closes. Return whether the user detached with Ctrl-P Ctrl-Q."""
    inputs: list[socket.socket | int] = [connection, sys.stdin.fileno()]
    typed = b""
    while True:
        ready, _, _ = select.select(inputs, [], [])
        if connection in ready:
            data = connection.recv(LONGEST)
            if not data:
                return False
            stream = sys.stderr.buffer if data[0] == STDERR else sys.stdout.buffer
            stream.write(data[1:])
            stream.flush()
        if sys.stdin.fileno() in ready:
            data = os.read(sys.stdin.fileno(), LONGEST)
            if not data:
                inputs.remove(sys.stdin.fileno())
                connection.shutdown(socket.SHUT_WR)
                continue
            typed = (typed + data)[-2:]
            if typed == DETACH:
                return True
            connection.sendall(data)


@contextlib.contextmanager
def raw(box: Box) -> Iterator[None]:
    """Put our terminal into raw mode, and keep the box's terminal at the same size."""
    before = termios.tcgetattr(0)

    def resize(_number: int = 0, _frame: FrameType | None = None) -> None:
        rows, columns = termios.tcgetwinsize(0)
        with contextlib.suppress(OSError):
            fd = os.open(box.directory.bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(fd, f"1 {rows} {columns}\n".encode())
            os.close(fd)

    old = signal.signal(signal.SIGWINCH, resize)
    tty.setraw(0, termios.TCSADRAIN)  # keep what was typed ahead
    resize()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, old)
        termios.tcsetattr(0, termios.TCSADRAIN, before)

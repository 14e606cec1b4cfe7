"""The caller's side of a terminal: the socket that receives its master, and the user's own terminal.

send_descriptor is for any socket that receives a descriptor, such as --pidfd-socket.
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, reported_as
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_PATH, ONLCR


def check_socket(terminal: bool, socket: str) -> None:
    """Check, before anything is made, that there is a terminal to send to the socket. Raises Error.

    plan/terminal.py refuses the reverse, a terminal that nobody takes.
    """
    if socket and not terminal:
        raise Error(
            "cannot use console socket if ocipy will not detach or allocate tty",
            pointer="/process/terminal",
            hint="omit --console-socket, or set process.terminal to true",
        )


def send_descriptor(path: str, fd: int, name: str, what: str) -> None:
    """Connect to the socket and send the one message that engines expect: a name with the descriptor. Raises Error.

    what: "the terminal to the console socket". Nobody answers, and containerd accepts only after create has returned,
    so we do not wait.
    """
    socket = -1
    hint = {errno.ECONNREFUSED: "nobody listens there", errno.ENOENT: "there must be a listening socket at this path"}
    try:
        with reported_as(f"cannot send {what}", pointer=path, hint=hint):
            socket = connect(path)
            _kernel.send(socket, name.encode(), (fd,))
    finally:
        if socket >= 0:
            posix.close(socket)


def connect(path: str) -> int:
    """Return a connected stream socket; the path may exceed the 107 bytes of unix(7). Raises OSError."""
    try:
        return _kernel.connect_unix(path)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    handle = posix.open(path, O_PATH | O_CLOEXEC)
    try:
        return _kernel.connect_unix(f"/proc/self/fd/{handle}")
    finally:
        posix.close(handle)


def standard_terminal() -> int:
    """Return the standard stream that is a terminal; -1 if none is."""
    for fd in (0, 1, 2):
        if posix.isatty(fd):
            return fd
    return -1


def take_terminal(master: int) -> None:
    """Adapt that master's terminal to the user's before the process uses it.

    Set the size before the process can ask for it. Keep newlines as they are: the user's terminal turns them into CR
    NL, and in a file or a pipe they must stay.
    """
    copy_size(standard_terminal(), master)
    _kernel.tty_clear_output(master, ONLCR)


def copy_size(terminal: int, master: int) -> None:
    """Give that master's terminal the size of another; -1 if there is none."""
    if terminal < 0:
        return
    rows, columns = _kernel.tty_size(terminal)
    if rows and columns:
        _kernel.tty_set_size(master, rows, columns)

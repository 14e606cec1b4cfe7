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
    """Check, before anything is made, that there will be a terminal to send to the socket. Raises Error.

    plan/terminal.py refuses the reverse: a terminal that nobody receives.
    """
    if socket and not terminal:
        raise Error(
            "cannot use console socket if ocipy will not detach or allocate tty",
            pointer="/process/terminal",
            hint="omit --console-socket, or set process.terminal to true",
        )


def send_descriptor(path: str, fd: int, name: str, what: str) -> None:
    """Connect to the socket and send the one message that engines expect: a name and the descriptor. Raises Error.

    what: for the error, for example "the terminal to the console socket". We do not wait: nobody answers, and
    containerd accepts the connection only after create has returned.
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
    """Return a connected stream socket. The path may be longer than the 107 bytes of unix(7). Raises OSError."""
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
    """Return the first standard stream that is a terminal, or -1."""
    for fd in (0, 1, 2):
        if posix.isatty(fd):
            return fd
    return -1


def take_terminal(master: int) -> None:
    """Adapt the container's terminal to the user's before the process uses it. master: of the container's terminal.

    Set the size before the process can ask for it. Turn off ONLCR: the user's terminal translates newlines into CR NL
    by itself, and a file or a pipe must receive them as they are.
    """
    copy_size(standard_terminal(), master)
    _kernel.tty_clear_output(master, ONLCR)


def copy_size(terminal: int, master: int) -> None:
    """Copy a terminal's size to the one behind this master. terminal: -1 if there is none."""
    if terminal < 0:
        return
    rows, columns = _kernel.tty_size(terminal)
    if rows and columns:
        _kernel.tty_set_size(master, rows, columns)

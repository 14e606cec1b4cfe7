"""The container's terminal: its master goes to whoever listens at --console-socket, or stays with us."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_PATH, ONLCR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.host.context import HostRun


def check_socket(terminal: bool, socket: str) -> None:
    """See that there is a terminal to be sent to the socket, before anything is made. Raises Error.

    The reverse, a terminal that nobody takes, is refused by plan/terminal.py.
    """
    if socket and not terminal:
        raise Error(
            "cannot use console socket if ocipy will not detach or allocate tty",
            pointer="/process/terminal",
            hint="leave --console-socket out, or set process.terminal to true",
        )


def send_console(run: HostRun) -> None:
    """Hand the master over. In the foreground there is no socket, and the master stays with us."""
    if run.master < 0:
        raise Error("the init process has sent no terminal")
    if run.console_socket:
        name = run.master_name or "/dev/ptmx"
        send_descriptor(run.console_socket, run.master, name, "the terminal to the console socket")
        posix.close(run.master)
        run.master = -1
    else:
        take_terminal(run.master)


def standard_terminal() -> int:
    """The standard stream that is a terminal; -1 without one."""
    for fd in (0, 1, 2):
        if posix.isatty(fd):
            return fd
    return -1


def take_terminal(master: int) -> None:
    """Make the terminal of that master fit the user's, before the process is on it.

    It gets the size, before the process can ask for it. And a newline stays one: the user's terminal makes CR NL of it,
    and where the output goes to a file or a pipe nobody does.
    """
    copy_size(standard_terminal(), master)
    _kernel.tty_clear_output(master, ONLCR)


def copy_size(terminal: int, master: int) -> None:
    """Give the terminal of that master the size of another, -1 for none."""
    if terminal < 0:
        return
    rows, columns = _kernel.tty_size(terminal)
    if rows and columns:
        _kernel.tty_set_size(master, rows, columns)


def send_descriptor(path: str, fd: int, name: str, what: str) -> None:
    """Connect to the socket and send the one message that engines expect: a name, with the descriptor. Raises Error.

    what: "the terminal to the console socket". Nobody answers, and containerd accepts only once create has returned; so
    nothing is waited for.
    """
    socket = -1
    try:
        socket = connect(path)
        _kernel.send(socket, name.encode(), (fd,))
    except OSError as error:
        hint = "nobody listens there" if error.errno == errno.ECONNREFUSED else ""
        raise Error(f"cannot send {what}", pointer=path, errno=error.errno or 0, hint=hint) from None
    finally:
        if socket >= 0:
            posix.close(socket)


def connect(path: str) -> int:
    """A connected stream socket; the path may be longer than the 107 bytes of unix(7). Raises OSError."""
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


ACTIONS: dict[str, Callable[..., None]] = {"send_console": send_console}

"""--pidfd-socket: a descriptor of the process goes to whoever listens there, who can then wait for it and signal it."""

from __future__ import annotations

import errno
import posix

from ocipy.container.console import connect
from ocipy.errors import Error
from ocipy.linux import _kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.container.context import HostRun


def send_pidfd(run: HostRun, *, path: str, name: str) -> None:
    """One message with the pidfd, as for a terminal. name: what runc calls the kind of process in it."""
    socket = -1
    try:
        socket = connect(path)
        _kernel.send(socket, name.encode(), (run.pidfd,))
    except OSError as error:
        hint = "nobody listens there" if error.errno == errno.ECONNREFUSED else ""
        raise Error(
            "cannot send the pidfd to the pidfd socket", pointer=path, errno=error.errno or 0, hint=hint
        ) from None
    finally:
        if socket >= 0:
            posix.close(socket)


ACTIONS: dict[str, Callable[..., None]] = {"send_pidfd": send_pidfd}

"""The container's terminal: its master goes to the listener at --console-socket, or stays with us."""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.host.console import send_descriptor, take_terminal
from ocipy.host.context import carries_out
from ocipy.plan.terminal import SendConsole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(SendConsole)
def send_console(run: HostRun, step: SendConsole) -> None:
    """Send the master. In the foreground there is no socket, and we keep it."""
    if run.master < 0:
        raise Error("the init process has sent no terminal")
    if run.console_socket:
        name = run.master_name or "/dev/ptmx"
        send_descriptor(run.console_socket, run.master, name, "the terminal to the console socket")
        posix.close(run.master)
        run.master = -1
    else:
        take_terminal(run.master)

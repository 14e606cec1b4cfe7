"""--pidfd-socket: a descriptor of the process goes to the listener, who can then wait for it and signal it."""

from __future__ import annotations

from ocipy.host.terminal import send_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.host.context import HostRun


def send_pidfd(run: HostRun, *, path: str, name: str) -> None:
    """Send one message with the pidfd, as for a terminal. name: runc's word for this kind of process."""
    send_descriptor(path, run.pidfd, name, "the pidfd to the pidfd socket")


ACTIONS: dict[str, Callable[..., None]] = {"send_pidfd": send_pidfd}

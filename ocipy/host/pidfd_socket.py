"""--pidfd-socket: a descriptor of the process goes to whoever listens there, who can then wait for it and signal it."""

from __future__ import annotations

from ocipy.host.terminal import send_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.host.context import HostRun


def send_pidfd(run: HostRun, *, path: str, name: str) -> None:
    """One message with the pidfd, as for a terminal. name: what runc calls the kind of process in it."""
    send_descriptor(path, run.pidfd, name, "the pidfd to the pidfd socket")


ACTIONS: dict[str, Callable[..., None]] = {"send_pidfd": send_pidfd}

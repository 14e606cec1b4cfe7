"""The few small messages between the process on the host and the one that becomes the container.

A channel is a SOCK_SEQPACKET socketpair, on which the kernel keeps messages apart. A process in the same pid namespace
may have taken over init, so messages from init are limited in size, parsed as JSON, and not trusted: the reader checks
each member. A message may carry one descriptor where one is expected.
"""

from __future__ import annotations

from errno import ECONNRESET, EPIPE

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import SOCK_SEQPACKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_MESSAGE = 64 * 1024


class Closed(Error):
    """The other process has closed its end, usually by exiting."""

    __slots__ = ()


def pair() -> tuple[Channel, Channel]:
    """Both ends of a new channel."""
    ours, theirs = _kernel.socketpair(SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)


class Channel:
    """One end of a channel."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, kind: str, body: dict[str, Any] | None = None, fd: int = -1) -> None:
        """Send one message, with one descriptor if fd is not -1. Raises Closed."""
        message = dict(body) if body else {}
        message["kind"] = kind
        try:
            _kernel.send(self.fd, _kernel.json_dumps(message), (fd,) if fd >= 0 else ())
        except OSError as error:
            if error.errno in (EPIPE, ECONNRESET):
                raise Closed("the other process has exited") from None
            raise

    def receive(self, max_fds: int = 0) -> tuple[str, dict[str, Any], list[int]]:
        """Return the next message: kind, body, descriptors. Raises Closed, or Error for a malformed message."""
        try:
            data, fds = _kernel.recv(self.fd, MAX_MESSAGE, max_fds)
        except OSError as error:
            if error.errno == ECONNRESET:
                raise Closed("the other process has exited") from None
            raise
        if not data:
            raise Closed("the other process has exited")
        try:
            message = _kernel.json_loads(data)
        except ValueError:
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
            raise Error("the init process sent a malformed message")
        return message["kind"], message, fds

"""A box's connection, for each kind of network."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self


class Connection:
    """What connects a box, as long as it is entered; the box keeps what it has been given then.

    path: of a network namespace that is ready; "" for an empty private one, "host" for the host's. addresses: the
    box's own. name_servers: empty for the host's. user_path: of the user namespace that owns the network namespace, ""
    for none that is ready. sockets: the process that stays with the box keeps them open until it ends.
    """

    path = ""
    addresses: tuple[str, ...] = ()
    name_servers: tuple[str, ...] = ()
    user_path = ""
    sockets: tuple[socket.socket, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release resources for the box's start; if it failed, undo everything."""

"""A box's connection, for each kind of network."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self


class Connection:
    """Connects a box that is started while this is entered; the box stays connected afterwards.

    path: of an existing network namespace; "" for a new, empty one, "host" for the host's. addresses: the box's own.
    name_servers: empty for the host's. user_path: of the user namespace that owns the network namespace, "" if neither
    exists. sockets: the process that stays with the box keeps them open until the box ends.
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
        """Release what only the start needed; if the start failed, undo everything."""

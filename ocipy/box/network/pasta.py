"""pasta(1): a network for boxes without root, through the host's sockets.

As with podman, the namespaces are made before the box: the runtime's init is not dumpable (PR_SET_DUMPABLE), so pasta
could not join namespaces that the runtime has made.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ocipy.box.id_maps import IdMap
from ocipy.box.network.connection import Connection
from ocipy.box.network.holder import Holder
from ocipy.box.network.name_servers import name_servers
from ocipy.box.pids import open_noted, wait_for_end
from ocipy.box.places import Places
from ocipy.box.request import Port
from ocipy.box.tools import output_of

# Where pasta serves names to the box if the host's name server is on the host's loopback.
NAME_SERVER = "169.254.1.1"


class Pasta(Connection):
    """A user and a network namespace, held by a process until the box has joined them. pasta stays until release.

    id_maps: the user namespace's uid map and gid map. held: the pid of a process that holds both already, or 0.
    """

    def __init__(
        self, box_id: str, ports: Sequence[Port], places: Places, id_maps: tuple[IdMap, IdMap], held: int = 0
    ) -> None:
        self._held = held
        self._box_id = box_id
        self._ports = ports
        self._places = places
        self._id_maps = id_maps
        self._holder: Holder | None = None

    def __enter__(self) -> Self:
        try:
            namespaces = f"/proc/{self._held or self._hold()}/ns"
            servers = name_servers()
            words = [] if servers else ["--dns-forward", NAME_SERVER]
            begin(namespaces, pid_file(self._box_id, self._places), [*words, *words_of_ports(self._ports)])
        except BaseException:
            self._let_go()
            release(self._box_id, self._places)
            raise
        self.user_path, self.path = f"{namespaces}/user", f"{namespaces}/net"
        self.name_servers = servers or (NAME_SERVER,)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()
        if error is not None:
            release(self._box_id, self._places)

    def _hold(self) -> int:
        """The pid of a process that holds new namespaces."""
        self._holder = Holder(self._id_maps)
        return self._holder.pid

    def _let_go(self) -> None:
        if self._holder is not None:
            self._holder.let_go()


def words_of_ports(ports: Sequence[Port]) -> list[str]:
    """Ports in pasta's form; "none" without any, because pasta's default publishes all listening ports."""
    made = []
    for flag, protocol in (("-t", "tcp"), ("-u", "udp")):
        words: dict[str, list[str]] = {}
        for port in ports:
            if port.protocol == protocol:
                words.setdefault(port.address, []).append(f"{port.host}:{port.box}")
        for address, pairs in words.items():
            made += [flag, (f"{address}/" if address else "") + ",".join(pairs)]
        made += [] if words else [flag, "none"]
    return made


def begin(namespaces: str, pid_path: Path, words: Sequence[str]) -> None:
    """Have pasta connect the namespaces; it stays in the background. Raises Error with its words.

    The path of the namespaces vanishes with their holder, once the box has joined them. Without --no-netns-quit, pasta
    (since 2024) checks every second that the path still exists, and ends if it does not.
    """
    command = ["pasta", "--config-net", "--quiet", "--no-map-gw", "--no-netns-quit", "-T", "none", "-U", "none", *words]
    command += ["--pid", str(pid_path), "--userns", f"{namespaces}/user", "--netns", f"{namespaces}/net"]
    output_of(command, "cannot make the network with pasta", "use --network none or host")


def pid_file(box_id: str, places: Places) -> Path:
    """pasta's pid file; this path on its command line identifies it."""
    return places.run / f"pasta-{box_id}.pid"


def release(box_id: str, places: Places) -> None:
    """End a box's pasta, if it runs."""
    path = pid_file(box_id, places)
    fd = open_noted(path, lambda words: os.fsencode(path) in words)
    if fd is not None:
        with suppress(OSError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            wait_for_end(fd)
        os.close(fd)
    path.unlink(missing_ok=True)

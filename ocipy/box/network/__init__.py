"""Networks of boxes: none, the host's, our bridge (root), or pasta (without root)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from ocipy import Error
from ocipy.box.id_maps import IdMap
from ocipy.box.network.connection import Connection
from ocipy.box.places import Places
from ocipy.box.request import Port


class Peer(NamedTuple):
    """Another box on the same network: its names in /etc/hosts, and its addresses."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]


class Network(NamedTuple):
    """How a box is connected.

    kind: "bridge", "host", "none" or "pasta". addresses: those of this run, with prefix lengths; only on a bridge.
    ports: the published ones.
    """

    kind: str
    addresses: tuple[str, ...]
    ports: tuple[Port, ...]


class HostConnection(Connection):
    """The host's network."""

    path = "host"


def default_kind(rootless: bool) -> str:
    """The default network of a box."""
    return "pasta" if rootless else "bridge"


def connect(
    kind: str,
    box_id: str,
    ports: Sequence[Port],
    places: Places,
    id_maps: tuple[IdMap, IdMap] = ((), ()),
    held: int = 0,
) -> Connection:
    """A connection of this kind for a box. id_maps: of its user namespace, uids and gids. held: the pid of a process in
    that namespace and, for pasta, in its network namespace; 0 if they do not exist yet. Raises Error."""
    if ports and kind in ("none", "host"):
        raise Error(f"--publish has no effect with --network {kind}", status=2)
    if kind == "none":
        return Connection()
    if kind == "host":
        return HostConnection()
    if kind == "pasta":
        from ocipy.box.network.pasta import Pasta

        if not id_maps[0]:
            raise Error("pasta needs a user namespace", hint="use --userns auto, or --network bridge", status=2)
        return Pasta(box_id, ports, places, id_maps, held)
    if os.geteuid() != 0:
        raise Error("a bridge needs root", hint="use --network pasta")
    from ocipy.box.network.bridge import BridgeConnection

    return BridgeConnection(box_id, ports, places, id_maps)


def release(kind: str, box_id: str, places: Places) -> None:
    """Release the network resources of an ended box, if any."""
    if kind == "pasta":
        from ocipy.box.network import pasta

        pasta.release(box_id, places)
    if kind == "bridge" and os.geteuid() == 0:
        from ocipy.box.network.bridge import release as release_bridge

        release_bridge(box_id, places)


def resolv_conf(name_servers: Sequence[str], host: str) -> str:
    """/etc/resolv.conf of a box: its name servers, by default the host's. host: the text of the host's file."""
    if name_servers:
        kept = [line for line in host.split("\n") if line.startswith(("search ", "options "))]
        return "".join(f"nameserver {one}\n" for one in name_servers) + "".join(f"{line}\n" for line in kept)
    return host


def without_name_servers(host: str) -> str:
    """The text of the host's resolv.conf for a box on a bridge that can reach none of its name servers. Pure."""
    return "".join(line + "\n" for line in host.split("\n") if line and not line.startswith("nameserver"))


def hosts(hostname: str, addresses: Sequence[str], peers: Sequence[Peer]) -> str:
    """/etc/hosts of a box: itself, and the others by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address.partition('/')[0]} {hostname}" for address in addresses or ("127.0.1.1",)]
    for peer in peers:
        lines += [f"{address.partition('/')[0]} {' '.join(peer.names)}" for address in peer.addresses]
    return "".join(line + "\n" for line in lines)

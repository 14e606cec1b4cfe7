"""Holds published ports on the host while the box runs: another program would get no connections on them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from ocipy.box.ports import families
from ocipy.box.request import Port
from ocipy.errors import caused_by

FAMILIES = {4: (socket.AF_INET, "0.0.0.0"), 6: (socket.AF_INET6, "::")}
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
# A host without IPv6, or with IPv6 disabled.
WITHOUT_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def hold(ports: Iterable[Port]) -> list[socket.socket]:
    """Sockets bound to the ports; they receive nothing, because the rules redirect packets to the box. Raises Error.

    docker and podman hold ports in the same way: another program that wants one gets an error.
    """
    held: list[socket.socket] = []
    try:
        for port in ports:
            for family in families(port):
                one = _hold(port, family)
                if one is not None:
                    held.append(one)
    except BaseException:
        release(held)
        raise
    return held


def release(held: Iterable[socket.socket]) -> None:
    """Release the ports."""
    for one in held:
        one.close()


def _hold(port: Port, version: int) -> socket.socket | None:
    family, everywhere = FAMILIES[version]
    one = None
    try:
        one = socket.socket(family, KINDS[port.protocol])
        if version == 6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections linger (socket(7))
        one.bind((port.address or everywhere, port.host))
        if port.protocol == "tcp":
            one.listen()
    except OSError as error:
        if one is not None:
            one.close()
        if not port.address and version == 6 and error.errno in WITHOUT_FAMILY:
            return None
        where = f"port {port.host}/{port.protocol}" + (f" at {port.address}" if port.address else "")
        hint = {errno.EADDRINUSE: f"ss -{port.protocol[0]}lnp shows what uses it"}
        raise caused_by(error, f"cannot publish {where} of the host", hint=hint) from None
    return one

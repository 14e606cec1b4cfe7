"""Addresses and routes, kept as the kernel's own messages, to be sent again later (rtnetlink(7)). Cold.

A message of a dump also serves as a request to make the same thing again, including attributes that are unknown here.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from ocipy.linux.netlink import (
    ADDRESS,
    HEADER,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    NUMBER,
    ROUTE,
    RTA_GATEWAY,
    RTA_OIF,
    RTM_GETADDR,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTN_UNICAST,
    exchange,
    extents,
    open_socket,
)

# linux/rtnetlink.h
RTA_VIA = 18
RTPROT_KERNEL, RTPROT_RA = 2, 9
RTM_F_CLONED = 0x200


def addresses(index: int) -> list[bytes]:
    """Return all addresses of a device, in the order in which to make them. Raises OSError."""
    offset = HEADER.size
    found = _dump(RTM_GETADDR, RTM_NEWADDR, ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
    return [message for message in found if ADDRESS.unpack_from(message, offset)[4] == index]


def routes(index: int) -> list[bytes]:
    """Return the routes over a device, except those that the kernel makes itself, with the addresses. Raises OSError.

    Routes without a gateway come first: a gateway must be reachable when its route is made.
    """
    found = []
    for message in _dump(RTM_GETROUTE, RTM_NEWROUTE, ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        *_, protocol, _, kind, flags = ROUTE.unpack_from(message, HEADER.size)
        attributes = {number: begin for number, begin, _ in extents(message, ROUTE.size)}
        over = attributes.get(RTA_OIF)
        if over is None or NUMBER.unpack_from(message, over)[0] != index:
            continue
        if protocol not in (RTPROT_KERNEL, RTPROT_RA) and kind == RTN_UNICAST and not flags & RTM_F_CLONED:
            found.append((RTA_GATEWAY in attributes or RTA_VIA in attributes, message))
    return [message for _, message in sorted(found, key=lambda pair: pair[0])]


def make_again(message: bytes, index: int) -> None:
    """Make the address or route in a message again, on the device with this index. Raises OSError."""
    length, kind, *_ = HEADER.unpack_from(message)
    changed = bytearray(message)
    HEADER.pack_into(changed, 0, length, kind, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 1, 0)
    if kind == RTM_NEWADDR:
        NUMBER.pack_into(changed, HEADER.size + 4, index)
    for number, offset, _ in extents(message, ROUTE.size) if kind == RTM_NEWROUTE else ():
        if number == RTA_OIF:
            NUMBER.pack_into(changed, offset, index)
    for _ in _ask(bytes(changed)):
        pass


def _dump(question: int, answer: int, body: bytes) -> list[bytes]:
    header = HEADER.pack(HEADER.size + len(body), question, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    return [message for message in _ask(header + body) if HEADER.unpack_from(message)[1] == answer]


def _ask(request: bytes) -> Iterator[bytes]:
    """Yield the messages of the answer. Raises OSError."""
    with open_socket() as sock:
        yield from exchange(sock, request)

"""Messages of netlink(7), and an rtnetlink(7) socket to exchange them with the kernel. Cold: it needs all of Python."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3

# linux/rtnetlink.h
RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE = 20, 22, 24, 26
RTA_OIF, RTA_GATEWAY = 4, 5
RTN_UNICAST = 1

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefixlen, flags, scope, index
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
NUMBER = struct.Struct("=I")
RECEIVE = 1 << 18


def attribute(number: int, value: bytes) -> bytes:
    """One attribute, padded to the next multiple of 4."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), number) + value + bytes(-len(value) % 4)


def extents(message: bytes, fixed: int) -> Iterator[tuple[int, int, int]]:
    """(type, begin and end of the value) of each attribute in a message.

    fixed: the size of the structure between the message's header and its attributes."""
    offset = HEADER.size + fixed
    while offset + ATTRIBUTE.size <= len(message):
        length, number = ATTRIBUTE.unpack_from(message, offset)
        if length < ATTRIBUTE.size:
            return
        yield number, offset + ATTRIBUTE.size, offset + length
        offset += (length + 3) & ~3


def attributes(message: bytes, fixed: int) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute in a message; fixed as in extents."""
    for number, begin, end in extents(message, fixed):
        yield number, message[begin:end]


def open_socket() -> socket.socket:
    """A socket of rtnetlink(7), in the caller's network namespace. Raises OSError."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)


def exchange(sock: socket.socket, request: bytes) -> Iterator[bytes]:
    """The messages that answer a request. Raises OSError with the errno that the kernel sent."""
    sock.send(request)
    while True:
        data = sock.recv(RECEIVE)
        while len(data) >= HEADER.size:
            length, kind, *_ = HEADER.unpack_from(data)
            message, data = data[:length], data[(length + 3) & ~3 :]
            if kind == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", message, HEADER.size)
                if code:
                    raise OSError(-code, os.strerror(-code))
                return
            if kind == NLMSG_DONE:
                return
            yield message


class Netlink:
    """A socket of rtnetlink(7), in the network namespace that the caller is in when it makes this. Raises OSError."""

    def __init__(self) -> None:
        self._socket = open_socket()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def do(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Have the kernel carry out a request. Raises OSError."""
        for _ in self._exchange(kind, body, NLM_F_ACK | flags):
            pass

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """All messages that answer a request for a list. Raises OSError."""
        return list(self._exchange(kind, body, NLM_F_DUMP))

    def ask(self, kind: int, body: bytes) -> list[bytes]:
        """The messages that answer a request for one object. Raises OSError."""
        return list(self._exchange(kind, body, NLM_F_ACK))

    def _exchange(self, kind: int, body: bytes, flags: int) -> Iterator[bytes]:
        request = HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body
        return exchange(self._socket, request)

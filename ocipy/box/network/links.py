"""Devices, addresses and routes through rtnetlink(7): the few messages that a bridge needs.

pyroute2 has them too, but its import takes 100 ms, a quarter of what podman takes for a whole container, and it cannot
be in a snapshot: it needs extension modules from files.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

from ocipy.linux import _kernel
from ocipy.linux.constants import CLONE_NEWNET
from ocipy.linux.netlink import (
    ADDRESS,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NUMBER,
    ROUTE,
    RTA_GATEWAY,
    RTM_GETADDR,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTN_UNICAST,
    Netlink,
    attribute,
    attributes,
)

# linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/veth.h, linux/if.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_GROUP, IFLA_NET_NS_FD = 1, 3, 10, 18, 27, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, IFA_F_NODAD = 1, 2, 0x02
RTA_DST = 1
RT_TABLE_MAIN, RTPROT_STATIC = 254, 4
IFF_UP = 1

LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
UP = LINK.pack(0, 0, 0, IFF_UP, IFF_UP)
ANY = LINK.pack(0, 0, 0, 0, 0)
NEW = NLM_F_CREATE | NLM_F_EXCL


def new_bridge(name: str, group: int) -> bytes:
    """The request that makes a bridge. Pure, like those below."""
    kind = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"))
    return ANY + _name(name) + attribute(IFLA_GROUP, NUMBER.pack(group)) + kind


def new_pair(name: str, group: int, bridge: int, peer: str, hardware_address: str, namespace: int) -> bytes:
    """The request that makes a veth pair: `name`, up and a port of the bridge, and the peer in the namespace of a
    descriptor.

    The peer cannot be up before the pair is complete (ENOTCONN).
    """
    other = ANY + _name(peer) + attribute(IFLA_ADDRESS, bytes.fromhex(hardware_address.replace(":", "")))
    other += attribute(IFLA_NET_NS_FD, NUMBER.pack(namespace))
    data = attribute(IFLA_INFO_KIND, b"veth") + attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other))
    own = _name(name) + attribute(IFLA_GROUP, NUMBER.pack(group)) + attribute(IFLA_MASTER, NUMBER.pack(bridge))
    return UP + own + attribute(IFLA_LINKINFO, data)


def new_address(index: int, text: str, length: int, flags: int = 0) -> bytes:
    """The request that gives a device an address."""
    address = ipaddress.ip_address(text)
    both = attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)
    return ADDRESS.pack(_family(address.version), length, flags, 0, index) + both


def new_default_route(gateway: str) -> bytes:
    """The request that makes a default route through a gateway."""
    address = ipaddress.ip_address(gateway)
    head = ROUTE.pack(_family(address.version), 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 0, RTN_UNICAST, 0)
    return head + attribute(RTA_GATEWAY, address.packed)


def _name(name: str) -> bytes:
    return attribute(IFLA_IFNAME, os.fsencode(name) + b"\0")


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


class Links:
    """Devices, addresses and routes of the network namespace that the caller is in when it makes this object.

    Its methods raise OSError if they fail.
    """

    def __init__(self) -> None:
        self._netlink = Netlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._netlink.close()

    def index(self, name: str) -> int:
        """The index of the device with this name; 0 if there is none."""
        try:
            message = self._netlink.ask(RTM_GETLINK, ANY + _name(name))[0]
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise
        return int(LINK.unpack_from(message, 16)[2])

    def names(self, group: int) -> set[str]:
        """The devices of a group."""
        found = set()
        for message in self._netlink.dump(RTM_GETLINK, ANY):
            about = dict(attributes(message, LINK.size))
            if about.get(IFLA_GROUP) == NUMBER.pack(group):
                found.add(os.fsdecode(about[IFLA_IFNAME].rstrip(b"\0")))
        return found

    def addresses(self, index: int) -> set[str]:
        """The addresses of a device."""
        found = set()
        for message in self._netlink.dump(RTM_GETADDR, ADDRESS.pack(0, 0, 0, 0, 0)):
            about = dict(attributes(message, ADDRESS.size))
            # IFA_ADDRESS of a point-to-point device is the peer's address.
            packed = about.get(IFA_LOCAL) or about.get(IFA_ADDRESS)
            if packed and ADDRESS.unpack_from(message, 16)[4] == index:
                found.add(str(ipaddress.ip_address(packed)))
        return found

    def networks(self) -> list[str]:
        """The destinations of the IPv4 and IPv6 routes, except the default routes."""
        found = []
        for message in self._netlink.dump(RTM_GETROUTE, ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
            family, length, *_ = ROUTE.unpack_from(message, 16)
            packed = dict(attributes(message, ROUTE.size)).get(RTA_DST)
            if packed and family in (socket.AF_INET, socket.AF_INET6):
                found.append(f"{ipaddress.ip_address(packed)}/{length}")
        return found

    def make(self, request: bytes) -> None:
        """Make a device."""
        self._netlink.do(RTM_NEWLINK, request, NEW)

    def set_up(self, index: int) -> None:
        """Set a device up (ip-link(8))."""
        self._netlink.do(RTM_NEWLINK, LINK.pack(0, 0, index, IFF_UP, IFF_UP))

    def add_address(self, request: bytes) -> None:
        """Give a device an address."""
        self._netlink.do(RTM_NEWADDR, request, NEW)

    def add_route(self, request: bytes) -> None:
        """Make a route."""
        self._netlink.do(RTM_NEWROUTE, request, NEW)

    def delete(self, name: str) -> None:
        """Delete a device, if it exists."""
        with suppress(OSError):
            self._netlink.do(RTM_DELLINK, ANY + _name(name))

    def delete_group(self, group: int) -> None:
        """Delete the devices of a group, if there are any."""
        with suppress(OSError):
            self._netlink.do(RTM_DELLINK, ANY + attribute(IFLA_GROUP, NUMBER.pack(group)))


def _enter(path: str) -> int:
    """Move the calling thread into a network namespace. Return its descriptor."""
    if not path:
        _kernel.unshare(CLONE_NEWNET)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    _kernel.setns(fd, CLONE_NEWNET)
    return fd


class Namespace:
    """The network namespace at this path, or a new one, held by a descriptor. inside: its devices. Raises OSError.

    Only the calling thread enters it, and leaves it again at once (unshare(2)).
    """

    def __init__(self, path: str = "") -> None:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.fd = _enter(path)
            try:
                self.inside = Links()
            finally:
                _kernel.setns(own, CLONE_NEWNET)
        finally:
            os.close(own)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"

    def close(self) -> None:
        """Close the descriptor, and the connection to the devices."""
        with self.inside:
            os.close(self.fd)

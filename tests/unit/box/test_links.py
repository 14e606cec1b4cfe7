"""The requests that make a bridge, in rtnetlink(7)'s form. Pure."""

from __future__ import annotations

import struct

from ocipy.box.network import links
from ocipy.linux import netlink


def read(body: bytes, fixed: int) -> dict[int, bytes]:
    """The attributes of a request, which has no header yet."""
    return dict(netlink.attributes(bytes(netlink.HEADER.size) + body, fixed))


def nested(value: bytes) -> dict[int, bytes]:
    return read(value, 0)


def test_an_attribute_is_padded_but_its_length_is_not() -> None:
    assert netlink.attribute(3, b"lo\0") == struct.pack("=HH", 7, 3) + b"lo\0\0"
    assert nested(netlink.attribute(3, b"lo\0") + netlink.attribute(4, b"1234")) == {3: b"lo\0", 4: b"1234"}


def test_attributes_end_at_one_without_a_length() -> None:
    assert nested(struct.pack("=HH", 0, 9) + netlink.attribute(4, b"1234")) == {}


def test_a_pair_has_one_end_on_the_bridge_and_the_other_in_the_namespace() -> None:
    body = links.new_pair("box1", 7, 5, "eth0", "02:42:0a:4d:00:02", 9)
    assert links.LINK.unpack_from(body) == (0, 0, 0, links.IFF_UP, links.IFF_UP)
    own = read(body, links.LINK.size)
    assert own[links.IFLA_IFNAME] == b"box1\0"
    assert own[links.IFLA_MASTER] == struct.pack("=I", 5)
    assert own[links.IFLA_GROUP] == struct.pack("=I", 7)
    about = nested(own[links.IFLA_LINKINFO])
    assert about[links.IFLA_INFO_KIND] == b"veth"
    peer = nested(about[links.IFLA_INFO_DATA])[links.VETH_INFO_PEER]
    assert links.LINK.unpack_from(peer)[3] == 0, "a peer that is up before the pair is complete is refused"
    other = read(peer, links.LINK.size)
    assert other[links.IFLA_IFNAME] == b"eth0\0"
    assert other[links.IFLA_ADDRESS] == b"\x02\x42\x0a\x4d\x00\x02"
    assert other[links.IFLA_NET_NS_FD] == struct.pack("=I", 9)


def test_addresses_and_routes_of_ipv4_and_ipv6() -> None:
    four = links.new_address(3, "10.77.0.2", 24)
    assert netlink.ADDRESS.unpack_from(four) == (2, 24, 0, 0, 3)
    assert read(four, netlink.ADDRESS.size)[links.IFA_LOCAL] == bytes((10, 77, 0, 2))
    six = links.new_address(3, "fd00::2", 64, links.IFA_F_NODAD)
    assert netlink.ADDRESS.unpack_from(six) == (10, 64, 2, 0, 3)
    route = links.new_default_route("10.77.0.1")
    assert netlink.ROUTE.unpack_from(route)[:2] == (2, 0)
    assert read(route, netlink.ROUTE.size) == {netlink.RTA_GATEWAY: bytes((10, 77, 0, 1))}

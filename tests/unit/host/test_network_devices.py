"""The checks before a network device moves, and the kernel's messages that are saved to restore its state."""

from __future__ import annotations

import socket
import struct

import pytest

from ocipy.host import rtnetlink
from ocipy.host.network_devices import IFF_LOOPBACK, Link, find_problem
from ocipy.linux import netlink

HERE = {
    "lo": Link(1, IFF_LOOPBACK),
    "eth0": Link(2, 0, other_names=("uplink", "enp1s0")),
    "eth1": Link(3, 0),
}
THERE = {"lo": Link(1, IFF_LOOPBACK), "net0": Link(2, 0, other_names=("first",))}


@pytest.mark.parametrize(
    "devices",
    [
        [],
        [("eth0", "eth0"), ("eth1", "eth1")],
        [("eth0", "eth1"), ("eth1", "eth0")],
        [("eth0", "net%d"), ("eth1", "net%d")],
    ],
)
def test_devices_that_can_move(devices: list[tuple[str, str]]) -> None:
    assert find_problem(devices, HERE, THERE) is None


@pytest.mark.parametrize(
    ("devices", "pointer", "said"),
    [
        ([("eth0", "a"), ("eth2", "b")], "/linux/netDevices/eth2", "there is no network device eth2"),
        ([("uplink", "a")], "/linux/netDevices/uplink", "there is no network device uplink"),
        ([("lo", "lo7")], "/linux/netDevices/lo", "lo is the loopback device"),
        ([("eth1", "net0")], "/linux/netDevices/eth1/name", "already has a network device net0"),
        ([("eth1", "first")], "/linux/netDevices/eth1/name", "already has a network device first"),
        ([("eth0", "a"), ("eth1", "a")], "/linux/netDevices/eth1/name", "already has a network device a"),
        ([("eth0", "a"), ("eth1", "enp1s0")], "/linux/netDevices/eth1/name", "already has a network device enp1s0"),
        ([("eth1", "enp1s0"), ("eth0", "a")], "/linux/netDevices/eth0", "already has a network device enp1s0"),
        ([("eth0", "uplink")], "/linux/netDevices/eth0/name", "already has a network device uplink"),
    ],
)
def test_a_device_that_cannot_move(devices: list[tuple[str, str]], pointer: str, said: str) -> None:
    problem = find_problem(devices, HERE, THERE)
    assert problem is not None
    assert problem.pointer == pointer
    assert said in problem.what


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), number) + value + b"\0" * (-len(value) % 4)


def route(index: int, *, gateway: bool = False, protocol: int = 3, kind: int = 1) -> bytes:
    body = netlink.ROUTE.pack(socket.AF_INET, 24, 0, 0, 254, protocol, 0, kind, 0)
    body += attribute(1, b"\x0a\0\0\0") + (attribute(netlink.RTA_GATEWAY, b"\x0a\0\0\1") if gateway else b"")
    body += attribute(netlink.RTA_OIF, struct.pack("=I", index))
    return netlink.HEADER.pack(16 + len(body), netlink.RTM_NEWROUTE, 2, 9, 99) + body


def test_routes_of_one_device_with_those_without_a_gateway_first(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = [route(7, gateway=True), route(7)]
    others = [route(8), route(7, protocol=rtnetlink.RTPROT_KERNEL), route(7, kind=2)]
    monkeypatch.setattr(rtnetlink, "_dump", lambda *_: [*mine, *others])
    assert rtnetlink.routes(7) == [mine[1], mine[0]]


def test_a_saved_message_is_sent_again_with_the_devices_new_index(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def ask(request: bytes) -> list[bytes]:
        asked.append(request)
        return []

    monkeypatch.setattr(rtnetlink, "_ask", ask)
    rtnetlink.make_again(route(7, gateway=True), 300)
    header, flags = netlink.HEADER.size, 0x605  # REQUEST, ACK, CREATE, EXCL
    assert asked[0][header:] == route(300, gateway=True)[header:]
    assert netlink.HEADER.unpack_from(asked[0])[2:] == (flags, 1, 0)
    address = netlink.ADDRESS.pack(socket.AF_INET, 24, 0x80, 0, 7) + attribute(2, b"\x0a\0\0\7")
    rtnetlink.make_again(netlink.HEADER.pack(16 + len(address), netlink.RTM_NEWADDR, 2, 9, 99) + address, 300)
    assert netlink.ADDRESS.unpack_from(asked[1], header) == (socket.AF_INET, 24, 0x80, 0, 300)

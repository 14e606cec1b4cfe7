"""Moving network devices into a network namespace, with their addresses, by rtnetlink(7). A cold module: pyroute2."""

from __future__ import annotations

import json
from typing import Any

from pyroute2 import IPRoute, NetlinkError, NetNS

from ocipy.errors import Error, escape

IFA_F_PERMANENT = 0x80  # linux/if_addr.h
RT_SCOPE_UNIVERSE = 0  # linux/rtnetlink.h


def main(data: bytes) -> bytes:
    """Move each device of the request of container/namespace_contents.py. Raises Error."""
    request = json.loads(data)
    path = f"/proc/self/fd/{request['namespace']}"
    with IPRoute() as here, NetNS(path, flags=0) as there:
        for name, new_name in request["devices"]:
            try:
                move(here, there, name, new_name, request["namespace"])
            except NetlinkError as error:
                raise Error(
                    f"cannot move the network device {name}",
                    pointer="/linux/netDevices" + escape(name),
                    errno=error.code,
                ) from None
    return b""


def move(here: IPRoute, there: NetNS, name: str, new_name: str, namespace: int) -> None:
    """Move one device. Raises Error, or NetlinkError."""
    pointer = "/linux/netDevices" + escape(name)
    links = here.link_lookup(ifname=name)
    if not links:
        raise Error(f"there is no network device {name}", pointer=pointer)
    if "%d" not in new_name and there.link_lookup(ifname=new_name):
        raise Error(f"the container has a network device {new_name} already", pointer=pointer + "/name")
    addresses = permanent_addresses(here, links[0])
    before = {link["index"] for link in there.get_links()}
    here.link("set", index=links[0], net_ns_fd=namespace, ifname=new_name)
    # It keeps its index unless another one has it there, and the kernel may have made up the name.
    index = next(link["index"] for link in there.get_links() if link["index"] not in before)
    for address in addresses:
        there.addr("add", index=index, **address)
    there.link("set", index=index, state="up")


def permanent_addresses(here: IPRoute, index: int) -> list[dict[str, Any]]:
    """The addresses that move along: of any family, permanent and of global scope (config-linux.md)."""
    found = []
    for message in here.get_addr(index=index):
        flags = message.get_attr("IFA_FLAGS") or message["flags"]
        if not flags & IFA_F_PERMANENT or message["scope"] != RT_SCOPE_UNIVERSE:
            continue
        local = message.get_attr("IFA_LOCAL")
        peer = message.get_attr("IFA_ADDRESS")
        address: dict[str, Any] = {
            "family": message["family"],
            "prefixlen": message["prefixlen"],
            "address": local or peer,
        }
        if local and peer and local != peer:
            address["local"], address["address"] = local, peer
        broadcast = message.get_attr("IFA_BROADCAST")
        if broadcast:
            address["broadcast"] = broadcast
        found.append(address)
    return found

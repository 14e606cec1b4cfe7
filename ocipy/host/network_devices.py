"""Move network devices into a network namespace, and back if create fails. Cold: imports pyroute2.

This runs in a child of create (children/helper.py), which survives if create is killed. The child keeps the namespace
open, so that it can move the devices back even after the init process has died.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetlinkError, NetNS

from ocipy.errors import Error, escape
from ocipy.host import rtnetlink

IFF_UP, IFF_LOOPBACK = 0x1, 0x8  # linux/if.h
# linux/if_addr.h. IFA_F_ASKED: the flags that a request may set; the kernel alone sets the others.
IFA_F_PERMANENT = 0x80
IFA_F_ASKED = 0x2 | 0x10 | 0x100 | 0x200 | 0x400  # NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN
RT_SCOPE_UNIVERSE = 0  # linux/rtnetlink.h
SETTINGS = "/proc/sys/net/{}/conf/{}"
FREE_NAME = "dev%d"  # the kernel's choice if a name is in use (config-linux.md, Network Devices)


@dataclass(frozen=True)
class Link:
    """A device as seen in its namespace."""

    index: int
    flags: int
    master: int = 0
    other_names: tuple[str, ...] = ()


@dataclass
class Moved:
    """A moved device, and what the move took from it."""

    name: str
    link: Link
    addresses: list[bytes]
    routes: list[bytes]
    settings: dict[str, bytes]
    index: int = -1  # in the container


@dataclass
class Loan:
    """The devices of one container, and both namespaces."""

    here: IPRoute
    there: NetNS
    namespace: int
    own: int
    moved: list[Moved] = field(default_factory=list)


_loan: Loan | None = None


def main(data: bytes) -> bytes:
    """Move the devices that host/namespace_contents.py requests; without data, move them back.

    For the latter, return a JSON list of what could not be restored. Raises Error.
    """
    if not data:
        return json.dumps(give_back()).encode()
    lend(json.loads(data))
    return b""


def lend(request: dict[str, Any]) -> None:
    """Move all of the devices, or none. Raises Error."""
    global _loan
    namespace, own = request["namespace"], os.open("/proc/self/ns/net", os.O_RDONLY)
    if os.path.sameopenfile(namespace, own):
        raise Error("the container is in the runtime's network namespace, so no device can move there")
    _loan = loan = Loan(IPRoute(), NetNS(f"/proc/self/fd/{namespace}", flags=0), namespace, own)
    here = links(loan.here)
    problem = find_problem(request["devices"], here, links(loan.there))
    if problem is not None:
        raise problem
    for name, new_name in request["devices"]:
        try:
            move(loan, name, here[name], new_name)
        except (NetlinkError, OSError) as error:
            failure = Error(
                f"cannot move the network device {name}",
                pointer="/linux/netDevices" + escape(name),
                errno=error.code if isinstance(error, NetlinkError) else error.errno or 0,
            )
            failure.hint = "; ".join(give_back())
            raise failure from None


def links(socket: IPRoute) -> dict[str, Link]:
    """Return the devices of a namespace, by name."""
    found = {}
    for message in socket.get_links():
        properties = message.get_attr("IFLA_PROP_LIST")
        others = [name for kind, name in properties["attrs"] if kind == "IFLA_ALT_IFNAME"] if properties else []
        found[message.get_attr("IFLA_IFNAME")] = Link(
            message["index"], message["flags"], message.get_attr("IFLA_MASTER") or 0, tuple(others)
        )
    return found


def find_problem(
    devices: Sequence[tuple[str, str]], here: Mapping[str, Link], there: Mapping[str, Link]
) -> Error | None:
    """Return why these devices, (name here, name there), cannot all move, or None if nothing prevents it.

    here, there: the devices of both namespaces. All names of a device, including its alternative names, must be free
    at the destination.
    """
    taken = set(_all_names(there))
    for name, new_name in devices:
        pointer = "/linux/netDevices" + escape(name)
        link = here.get(name)
        if link is None:
            aliased = next((other for other, found in here.items() if name in found.other_names), "")
            hint = f"it is an alternative name of {aliased}" if aliased else ""
            return Error(f"there is no network device {name}", pointer=pointer, hint=hint)
        if link.flags & IFF_LOOPBACK:
            return Error(f"{name} is the loopback device: each network namespace has its own", pointer=pointer)
        names = list(link.other_names)
        if "%d" not in new_name:
            names.append(new_name)
        for one in names:
            if one in taken or names.count(one) > 1:
                member = "/name" if one == new_name else ""
                return Error(f"the container already has a network device {one}", pointer=pointer + member)
        taken.update(names)
    return None


def _all_names(devices: Mapping[str, Link]) -> Iterable[str]:
    for name, link in devices.items():
        yield name
        yield from link.other_names


def move(loan: Loan, name: str, link: Link, new_name: str) -> None:
    """Move one device with its addresses, and bring it up. Raises NetlinkError or OSError."""
    moved = Moved(name, link, rtnetlink.addresses(link.index), rtnetlink.routes(link.index), settings_of(name))
    kept = permanent_addresses(loan.here, link.index)
    before = {found.index for found in links(loan.there).values()}
    loan.here.link("set", index=link.index, net_ns_fd=loan.namespace, ifname=new_name)
    # The device keeps its index unless another one there has it, and the kernel may have chosen its name.
    after = links(loan.there)
    moved.index = next(found.index for one, found in after.items() if one == new_name or found.index not in before)
    loan.moved.append(moved)
    for address in kept:
        loan.there.addr("add", index=moved.index, **address)
    loan.there.link("set", index=moved.index, state="up")


def permanent_addresses(here: IPRoute, index: int) -> list[dict[str, Any]]:
    """Return the addresses to move: those of any family that are permanent and of global scope (config-linux.md)."""
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
            "flags": flags & IFA_F_ASKED,
        }
        if local and peer and local != peer:
            address["local"], address["address"] = local, peer
        broadcast = message.get_attr("IFA_BROADCAST")
        if broadcast:
            address["broadcast"] = broadcast
        found.append(address)
    return found


def settings_of(name: str) -> dict[str, bytes]:
    """Return the sysctls of a device, by path. The kernel resets them when a device moves."""
    found = {}
    for family in ("ipv4", "ipv6"):
        directory = Path(SETTINGS.format(family, name))
        for path in directory.iterdir() if directory.is_dir() else ():
            with suppress(OSError):  # for example stable_secret, which cannot be read until it is set
                found[str(path)] = path.read_bytes()
    return found


def give_back() -> list[str]:
    """Move the devices back. Return what could not be restored."""
    global _loan
    loan, _loan = _loan, None
    problems: list[str] = []
    for moved in reversed(loan.moved if loan is not None else []):
        assert loan is not None
        try:
            name, index = _move_back(loan, moved)
        except (NetlinkError, OSError) as error:
            problems.append(f"cannot move the network device {moved.name} back: {error}")
            continue
        if name != moved.name:
            problems.append(f"the network device {moved.name} is now called {name}: its old name is taken")
        problems += [f"{name}: {problem}" for problem in _restore(loan, moved, name, index)]
    return problems


def _move_back(loan: Loan, moved: Moved) -> tuple[str, int]:
    """Return the name and the index that the device has now. Raises NetlinkError."""
    before = {found.index for found in links(loan.here).values()}
    name = moved.name
    try:
        loan.there.link("set", index=moved.index, net_ns_fd=loan.own, ifname=name)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        loan.there.link("set", index=moved.index, net_ns_fd=loan.own, ifname=FREE_NAME)
    after = links(loan.here)
    return next((one, found.index) for one, found in after.items() if found.index not in before)


def _restore(loan: Loan, moved: Moved, name: str, index: int) -> list[str]:
    """Restore what the moves took from a device. Return what could not be restored."""
    problems = []
    for path, value in moved.settings.items():
        setting = Path(path).parent.parent / name / Path(path).name
        try:
            if setting.read_bytes() != value:
                setting.write_bytes(value)
        except OSError as error:
            problems.append(f"cannot set {setting}: {error.strerror}")
    try:
        if moved.link.master:
            loan.here.link("set", index=index, master=moved.link.master)
        problems += _make_again("an address", moved.addresses, index)
        if moved.link.flags & IFF_UP:
            loan.here.link("set", index=index, state="up")
            problems += _make_again("a route", moved.routes, index)
    except NetlinkError as error:
        problems.append(str(error))
    return problems


def _make_again(what: str, messages: list[bytes], index: int) -> list[str]:
    problems = []
    for message in messages:
        try:
            rtnetlink.make_again(message, index)
        except FileExistsError:  # the kernel has made it: a link-local address, or a route that it adds itself
            pass
        except OSError as error:
            problems.append(f"cannot restore {what}: {error.strerror}")
    return problems

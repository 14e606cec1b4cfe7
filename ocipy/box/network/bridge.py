"""Our bridge: a veth pair for each box, addresses, a default route, and NAT to the outside.

The veth pair ends with the box's network namespace; `release` frees the rest. With the last box it removes the bridge
and the nftables table, and restores the sysctls for forwarding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ocipy import Error
from ocipy.box.id_maps import IdMap
from ocipy.box.network import nft
from ocipy.box.network.connection import Connection
from ocipy.box.network.holder import Holder
from ocipy.box.network.leases import NEW, Lease, Leases, free_subnet, leases_path, locked
from ocipy.box.network.links import (
    IFA_F_NODAD,
    Links,
    Namespace,
    new_address,
    new_bridge,
    new_default_route,
    new_pair,
)
from ocipy.box.network.name_servers import name_servers
from ocipy.box.network.ports import hold
from ocipy.box.network.ports import release as release_ports
from ocipy.box.places import Places
from ocipy.box.request import Port
from ocipy.errors import reported_as

BRIDGE = "ocipy0"
# The group of our devices (IFLA_GROUP, rtnetlink(7)). One request deletes the whole group; with a request for each
# device, we would wait for each.
GROUP = 0x6F636970
DEVICE = "eth0"
LOOPBACK = 1  # its index in every network namespace
SYSCTLS = Path("/proc/sys/net")
FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
OTHER_NETWORKS = "--network host or none needs no bridge"


class BridgeConnection(Connection):
    """A network namespace with one end of a veth pair; the other end is a port of the bridge.

    id_maps: of the box's user namespace, if it has one. The network namespace belongs to it.
    """

    def __init__(
        self, box_id: str, ports: Sequence[Port], places: Places, id_maps: tuple[IdMap, IdMap] = ((), ())
    ) -> None:
        self._id_maps = id_maps
        self._holder: Holder | None = None
        self._box_id = box_id
        self._ports = ports
        self._places = places
        self._namespace: Namespace | None = None

    def __enter__(self) -> Self:
        nft.check()
        try:
            with reported_as("cannot make a network namespace", hint=OTHER_NETWORKS):
                if self._id_maps[0]:
                    self._holder = Holder(self._id_maps)
                    self.user_path = f"/proc/{self._holder.pid}/ns/user"
                self._namespace = Namespace(f"/proc/{self._holder.pid}/ns/net" if self._holder else "")
            making = reported_as("cannot make the bridge", hint=OTHER_NETWORKS)
            with leases_of(self._places) as leases, making, Links() as host:
                leases.subnet = leases.subnet or free_subnet(host.networks())
                lease = leases.take(self._box_id, self._ports)
                self.sockets = tuple(hold(self._ports))
                leases.save()
                try:
                    with nft.applied(nft.ruleset(leases, BRIDGE)):
                        make_bridge(leases, host)
                        make_pair(host, device_of(self._box_id), self._namespace.fd, lease)
                        set_up_inside(self._namespace.inside, lease, leases)
                except BaseException:
                    remove_lease(self._box_id, leases, host)
                    leases.save()
                    raise
        except BaseException:
            self._let_go()
            raise
        self.path = self._namespace.path
        self.addresses = (f"{lease.v4}/24", f"{lease.v6}/64")
        self.name_servers = name_servers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()
        if error is not None:
            release(self._box_id, self._places)

    def _let_go(self) -> None:
        release_ports(self.sockets)
        if self._namespace is not None:
            self._namespace.close()
            self._namespace = None
        if self._holder is not None:
            self._holder.let_go()
            self._holder = None


def release(box_id: str, places: Places) -> None:
    """Release a box's addresses and rules, if any; with the last box, remove everything."""
    path = leases_path(places)
    if not path.exists() and not path.with_suffix(NEW).exists():
        return
    with leases_of(places) as leases:
        if box_id in leases.boxes:
            with reported_as("cannot remove the bridge", hint=OTHER_NETWORKS), Links() as host:
                remove_lease(box_id, leases, host)


@contextmanager
def leases_of(places: Places) -> Iterator[Leases]:
    """Lock and read the leases; write them at the end of the block."""
    with locked(leases_path(places)) as leases:
        yield leases


def device_of(box_id: str) -> str:
    """The host's end of the pair. A name has at most 15 characters."""
    return f"box{box_id}"


def make_bridge(leases: Leases, host: Links) -> None:
    """Make the bridge unless it exists, or complete one that a killed run has left unfinished."""
    v4, v6 = leases.gateway
    index = host.index(BRIDGE)
    there = host.addresses(index) if index else set()
    if v4 in there and read_sysctl(FORWARDING[0]) == "1":
        return
    if len(leases.boxes) == 1 and {one for one in there if not one.startswith("fe80:")} - {v4, v6}:
        raise Error(f"the device {BRIDGE} exists, but no box made it", hint=f"if nothing uses it: ip link del {BRIDGE}")
    if not index:
        host.make(new_bridge(BRIDGE, GROUP))
        index = host.index(BRIDGE)
    with suppress(OSError):
        (SYSCTLS / f"ipv6/conf/{BRIDGE}/accept_dad").write_text("0")
    with suppress(FileExistsError):
        host.add_address(new_address(index, v4, 24))
    with suppress(OSError):  # a host without IPv6
        host.add_address(new_address(index, v6, 64))
    host.set_up(index)
    # Lets the host reach a published port at 127.0.0.1 (ip-sysctl.rst).
    write_sysctl(f"ipv4/conf/{BRIDGE}/route_localnet", "1")
    for name in FORWARDING:
        before = read_sysctl(name)
        if before == "0":
            leases.before.setdefault(name, before)
            leases.save()
            write_sysctl(name, "1")


def read_sysctl(name: str) -> str:
    """Its value; "" if it does not exist."""
    try:
        return (SYSCTLS / name).read_bytes().strip().decode("ascii", "replace")
    except OSError:
        return ""


def write_sysctl(name: str, value: str) -> None:
    """Set a sysctl. Raises Error."""
    with reported_as(f"cannot set net/{name}"):
        (SYSCTLS / name).write_text(value)


def make_pair(host: Links, name: str, namespace: int, lease: Lease) -> None:
    """Make a veth pair: `name` on the bridge, and eth0 in the network namespace of a descriptor."""
    host.delete(name)  # in case a killed run has left one
    host.make(new_pair(name, GROUP, host.index(BRIDGE), DEVICE, lease.hardware_address, namespace))


def set_up_inside(inside: Links, lease: Lease, leases: Leases) -> None:
    """Set up devices, addresses and routes in the network namespace of a box."""
    v4, v6 = leases.gateway
    inside.set_up(LOOPBACK)
    index = inside.index(DEVICE)
    inside.set_up(index)
    inside.add_address(new_address(index, lease.v4, 24))
    inside.add_route(new_default_route(v4))
    with suppress(OSError):  # a host without IPv6
        inside.add_address(new_address(index, lease.v6, 64, IFA_F_NODAD))
        inside.add_route(new_default_route(v6))


def remove_lease(box_id: str, leases: Leases, host: Links) -> None:
    """Remove the lease and its device; with the last lease also the bridge and the rules, and restore forwarding."""
    leases.boxes.pop(box_id, None)
    device = device_of(box_id)
    if leases.boxes:
        with nft.applied(nft.ruleset(leases, BRIDGE)):
            host.delete(device)
        return
    with nft.applied(nft.removal()):
        if host.names(GROUP) <= {device, BRIDGE}:
            host.delete_group(GROUP)
        for name in (device, BRIDGE):  # devices made by an older version are in no group
            host.delete(name)
    for name, value in leases.before.items():
        write_sysctl(name, value)
    leases.before = {}
    leases.subnet = ""

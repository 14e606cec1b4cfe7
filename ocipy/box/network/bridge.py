"""Our bridge: a pair of devices for each box, addresses, a default route, and NAT to the outside.

The pair of devices ends with the box's network namespace; `release` frees the rest. With the last box it removes the
bridge and the table of rules, and restores the settings for forwarding.
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
# The group of our devices (IFLA_GROUP, rtnetlink(7)): one request deletes a group; separate ones wait for each device.
GROUP = 0x6F636970
DEVICE = "eth0"
LOOPBACK = 1  # its index in every network namespace
SYSCTLS = Path("/proc/sys/net")
FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
OTHER_NETWORKS = "--network host or none needs no bridge"


class BridgeConnection(Connection):
    """A network namespace with one end of a pair of devices; the other end is a port of the bridge.

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
                        begin(leases, host)
                        plug(host, device_of(self._box_id), self._namespace.fd, lease)
                        set_up_inside(self._namespace.inside, lease, leases)
                except BaseException:
                    give_back(self._box_id, leases, host)
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
                give_back(box_id, leases, host)


@contextmanager
def leases_of(places: Places) -> Iterator[Leases]:
    """The leases, for changes."""
    with locked(leases_path(places)) as leases:
        yield leases


def device_of(box_id: str) -> str:
    """The host's end of the pair; a name has 15 characters at most."""
    return f"box{box_id}"


def begin(leases: Leases, host: Links) -> None:
    """Make the bridge unless it exists. Completes the work of a killed run."""
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
    host.raise_up(index)
    # Lets the host reach a published port at 127.0.0.1 (ip-sysctl.rst).
    write_sysctl(f"ipv4/conf/{BRIDGE}/route_localnet", "1")
    for name in FORWARDING:
        before = read_sysctl(name)
        if before == "0":
            leases.before.setdefault(name, before)
            leases.save()
            write_sysctl(name, "1")


def read_sysctl(name: str) -> str:
    """The value, "" if it does not exist."""
    try:
        return (SYSCTLS / name).read_bytes().strip().decode("ascii", "replace")
    except OSError:
        return ""


def write_sysctl(name: str, value: str) -> None:
    """Raises Error."""
    with reported_as(f"cannot set net/{name}"):
        (SYSCTLS / name).write_text(value)


def plug(host: Links, name: str, namespace: int, lease: Lease) -> None:
    """A pair of devices: `name` on the bridge, and eth0 in the network namespace of a descriptor."""
    host.delete(name)  # a killed box's
    host.make(new_pair(name, GROUP, host.index(BRIDGE), DEVICE, lease.hardware_address, namespace))


def set_up_inside(inside: Links, lease: Lease, leases: Leases) -> None:
    """Addresses and routes in the network namespace of a box."""
    v4, v6 = leases.gateway
    inside.raise_up(LOOPBACK)
    index = inside.index(DEVICE)
    inside.raise_up(index)
    inside.add_address(new_address(index, lease.v4, 24))
    inside.add_route(new_default_route(v4))
    with suppress(OSError):  # a host without IPv6
        inside.add_address(new_address(index, lease.v6, 64, IFA_F_NODAD))
        inside.add_route(new_default_route(v6))


def give_back(box_id: str, leases: Leases, host: Links) -> None:
    """Remove the lease; with the last one the bridge, the rules and the forwarding."""
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

"""Our bridge: a pair of devices for each box, addresses, a default route, and NAT to the outside.

The pair of devices ends with the box's network namespace; `release` frees the rest. With the last box it removes the
bridge and the table of rules, and restores the settings for forwarding.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pyroute2 import IPRoute, NetlinkError, NetNS

from ocipy import Error
from ocipy.box.network import nft
from ocipy.box.network.connection import Connection
from ocipy.box.network.leases import NEW, Lease, Leases, free_subnet, leases_path, locked
from ocipy.box.network.name_servers import name_servers
from ocipy.box.network.ports import hold
from ocipy.box.network.ports import release as release_ports
from ocipy.box.places import Places
from ocipy.box.request import Port

BRIDGE = "ocipy0"
# The group of our devices (IFLA_GROUP, rtnetlink(7)): one request deletes a group; separate ones wait for each device.
GROUP = 0x6F636970
DEVICE = "eth0"
SYSCTLS = Path("/proc/sys/net")
FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")


class BridgeConnection(Connection):
    """A network namespace with one end of a pair of devices; the other end is a port of the bridge."""

    def __init__(self, box_id: str, ports: Sequence[Port], places: Places) -> None:
        self._box_id = box_id
        self._ports = ports
        self._places = places
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._holder = hold_namespace()
            with leases_of(self._places) as leases, translated("make the bridge"), IPRoute() as host:
                leases.subnet = leases.subnet or free_subnet(networks(host))
                lease = leases.take(self._box_id, self._ports)
                self.sockets = tuple(hold(self._ports))
                leases.save()
                try:
                    with nft.applied(nft.ruleset(leases, BRIDGE)):
                        begin(leases, host)
                        plug(host, device_of(self._box_id), self._holder.pid, lease)
                        set_up_inside(self._holder.pid, lease, leases)
                except BaseException:
                    give_back(self._box_id, leases, host)
                    leases.save()
                    raise
        except BaseException:
            self._let_go()
            raise
        self.path = f"/proc/{self._holder.pid}/ns/net"
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
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate()


def hold_namespace() -> subprocess.Popen[bytes]:
    """A process in a new network namespace, which ends with us."""
    holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.write(b"there\n")
    holder.stdin.flush()
    if holder.stdout.readline() != b"there\n":
        holder.communicate()
        raise Error("cannot make a network namespace", hint="a bridge takes CAP_SYS_ADMIN and CAP_NET_ADMIN")
    return holder


def release(box_id: str, places: Places) -> None:
    """Release a box's addresses and rules, if any; with the last box, remove everything."""
    path = leases_path(places)
    if not path.exists() and not path.with_suffix(NEW).exists():
        return
    with leases_of(places) as leases:
        if box_id in leases.boxes:
            with translated("take the bridge away"), IPRoute() as host:
                give_back(box_id, leases, host)


@contextmanager
def leases_of(places: Places) -> Iterator[Leases]:
    """The leases, for changes."""
    with locked(leases_path(places)) as leases:
        yield leases


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate the kernel's refusal to an Error."""
    try:
        yield
    except NetlinkError as error:
        raise Error(f"cannot {what}", errno=error.code, hint="--network host or none does without") from None


def device_of(box_id: str) -> str:
    """The host's end of the pair; a name has 15 characters at most."""
    return f"box{box_id}"


def begin(leases: Leases, host: IPRoute) -> None:
    """Make the bridge unless it exists. Completes the work of a killed run."""
    v4, v6 = leases.gateway
    there = host.link_lookup(ifname=BRIDGE)
    if there and v4 in addresses(host, there[0]) and read_sysctl(FORWARDING[0]) == "1":
        return
    if there and len(leases.boxes) == 1 and addresses(host, there[0]) - {v4, v6}:
        raise Error(f"there is a device {BRIDGE} that is not ours", hint=f"ip link del {BRIDGE}, if nobody needs it")
    with suppress(NetlinkError):
        host.link("add", ifname=BRIDGE, kind="bridge", group=GROUP)
    index = host.link_lookup(ifname=BRIDGE)[0]
    with suppress(OSError):
        (SYSCTLS / f"ipv6/conf/{BRIDGE}/accept_dad").write_text("0")
    with suppress(NetlinkError):  # it has it already
        host.addr("add", index=index, address=v4, prefixlen=24)
    with suppress(NetlinkError):  # a host without IPv6
        host.addr("add", index=index, address=v6, prefixlen=64)
    host.link("set", index=index, state="up")
    # Lets the host reach a published port at 127.0.0.1 (ip-sysctl.rst).
    write_sysctl(f"ipv4/conf/{BRIDGE}/route_localnet", "1")
    for name in FORWARDING:
        before = read_sysctl(name)
        if before == "0":
            leases.before.setdefault(name, before)
            leases.save()
            write_sysctl(name, "1")


def addresses(host: IPRoute, index: int) -> set[str]:
    """The addresses of a device, except link-local ones."""
    found = {message.get_attr("IFA_ADDRESS") for message in host.get_addr(index=index)}
    return {one for one in found if not one.startswith("fe80:")}


def networks(host: IPRoute) -> list[str]:
    """The networks of the host's addresses and routes, IPv4 and IPv6, except the default routes."""
    found = []
    for route in (*host.get_routes(family=2), *host.get_routes(family=10)):
        destination = route.get_attr("RTA_DST")
        if destination:
            found.append(f"{destination}/{route['dst_len']}")
    return found


def read_sysctl(name: str) -> str:
    """The value, "" if it does not exist."""
    try:
        return (SYSCTLS / name).read_bytes().strip().decode("ascii", "replace")
    except OSError:
        return ""


def write_sysctl(name: str, value: str) -> None:
    """Raises Error."""
    try:
        (SYSCTLS / name).write_text(value)
    except OSError as error:
        raise Error(f"cannot set net/{name}", errno=error.errno or 0) from None


def plug(host: IPRoute, name: str, pid: int, lease: Lease) -> None:
    """A pair of devices: `name` on the bridge, and eth0 in the network namespace of a process."""
    with suppress(NetlinkError):  # a killed box's
        host.link("del", ifname=name)
    peer = {"ifname": DEVICE, "net_ns_pid": pid, "address": lease.hardware_address}
    host.link("add", ifname=name, kind="veth", peer=peer, group=GROUP)
    bridge = host.link_lookup(ifname=BRIDGE)[0]
    index = host.link_lookup(ifname=name)[0]
    host.link("set", index=index, master=bridge, state="up")


def set_up_inside(pid: int, lease: Lease, leases: Leases) -> None:
    """Addresses and routes in the network namespace of a process."""
    v4, v6 = leases.gateway
    with NetNS(f"/proc/{pid}/ns/net", flags=0) as inside:
        inside.link("set", index=1, state="up")
        index = inside.link_lookup(ifname=DEVICE)[0]
        inside.link("set", index=index, state="up")
        inside.addr("add", index=index, address=lease.v4, prefixlen=24)
        inside.route("add", gateway=v4)
        with suppress(NetlinkError):
            inside.addr("add", index=index, address=lease.v6, prefixlen=64, flags=0x02)  # IFA_F_NODAD
            inside.route("add", family=10, dst="default", gateway=v6)


def give_back(box_id: str, leases: Leases, host: IPRoute) -> None:
    """Remove the lease, and with the last one the bridge, the rules and the forwarding."""
    leases.boxes.pop(box_id, None)
    device = device_of(box_id)
    if leases.boxes:
        with nft.applied(nft.ruleset(leases, BRIDGE)):
            delete(host, device)
        return
    with nft.applied(nft.removal()):
        if {link.get_attr("IFLA_IFNAME") for link in host.get_links(group=GROUP)} <= {device, BRIDGE}:
            with suppress(NetlinkError):
                host.link("del", group=GROUP)
        for name in (device, BRIDGE):  # devices of other versions are in no group
            delete(host, name)
    for name, value in leases.before.items():
        write_sysctl(name, value)
    leases.before = {}
    leases.subnet = ""


def delete(host: IPRoute, name: str) -> None:
    """Delete a device, if it exists."""
    if host.link_lookup(ifname=name):
        with suppress(NetlinkError):
            host.link("del", ifname=name)

"""The leases of the bridge's addresses: a file that is changed under a lock, and pure functions that choose them."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ocipy import Error
from ocipy.box.places import Places
from ocipy.box.ports import overlap
from ocipy.box.request import Port

# Private networks that Docker (172.16/12, 192.168/16) and podman (10.88/16, 10.89/16) do not use.
SUBNETS = tuple(f"10.{number}.0.0/24" for number in (77, 78, 79, 177, 178, 179))
# Unique local (RFC 4193), with the second byte of the IPv4 network.
NETWORKS6 = "fd6f:6369:7079:{}::/64"
NEW = ".new"


class Lease(NamedTuple):
    """A box's addresses, and the host's ports that lead to it."""

    v4: str
    v6: str
    ports: tuple[Port, ...] = ()

    @property
    def hardware_address(self) -> str:
        """The MAC address, made from the IPv4 address: what neighbours remember then fits the next box too (arp(7))."""
        return "02:42:" + ipaddress.IPv4Address(self.v4).packed.hex(":")


class Leases:
    """subnet: "" without a bridge. before: the values of sysctls before the bridge was made."""

    def __init__(
        self, subnet: str = "", boxes: dict[str, Lease] | None = None, before: dict[str, str] | None = None
    ) -> None:
        self.subnet = subnet
        self.boxes = boxes or {}
        self.before = before or {}
        self.path: Path | None = None

    def save(self) -> None:
        """Write them now, before their resources are created, which can then be found even if we are killed."""
        if self.path is not None:
            _write(self.path, self)

    @property
    def gateway(self) -> tuple[str, str]:
        """The bridge's addresses, IPv4 and IPv6."""
        return str(ipaddress.ip_network(self.subnet)[1]), str(ipaddress.ip_network(self.subnet6)[1])

    @property
    def subnet6(self) -> str:
        """The IPv6 network that belongs to the IPv4 network."""
        return subnet6(self.subnet)

    def take(self, box_id: str, ports: Sequence[Port]) -> Lease:
        """The next free addresses. Raises Error if there are none, or if another box has published one of the ports."""
        for other, lease in self.boxes.items():
            clash = [one for one in ports for two in lease.ports if overlap(one, two) and other != box_id]
            if clash:
                raise Error(
                    f"port {clash[0].host}/{clash[0].protocol} of the host is already published for box {other}",
                    hint=f"stop it first (ocipy box stop {other}), or publish another port of the host",
                )
        taken = {lease.v4 for lease in self.boxes.values()}
        network = ipaddress.ip_network(self.subnet)
        number = next((at for at in range(2, network.num_addresses - 1) if str(network[at]) not in taken), 0)
        if not number:
            raise Error(f"all addresses of {self.subnet} are in use", hint="stop or remove boxes")
        lease = Lease(str(network[number]), str(ipaddress.ip_network(self.subnet6)[number]), tuple(ports))
        self.boxes[box_id] = lease
        return lease


def subnet6(subnet: str) -> str:
    """10.77.0.0/24 has fd6f:6369:7079:77::/64."""
    return NETWORKS6.format(subnet.split(".")[1])


def free_subnet(used: Iterable[str]) -> str:
    """The first of SUBNETS that does not overlap the host's networks. Raises Error."""
    taken = [ipaddress.ip_network(one, strict=False) for one in used]
    for candidate in SUBNETS:
        both = (ipaddress.ip_network(candidate), ipaddress.ip_network(subnet6(candidate)))
        if not any(own.version == one.version and own.overlaps(one) for own in both for one in taken):
            return candidate
    raise Error("the host has routes to every network that the bridge could use", hint="use --network host or none")


def leases_path(places: Places) -> Path:
    """The file of the leases. Like the bridge, it does not survive a reboot."""
    return places.run / "leases.json"


@contextmanager
def locked(path: Path) -> Iterator[Leases]:
    """Lock and read the leases; write them at the end of the block, unless an exception is raised. Raises Error."""
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        path.with_suffix(NEW).unlink(missing_ok=True)  # of a process that was killed before the rename
        leases = _read(path)
        leases.path = path
        yield leases
        leases.save()
    finally:
        os.close(fd)


def ids_with_leases(path: Path) -> frozenset[str]:
    """The ids of the boxes with addresses. Raises Error."""
    return frozenset(_read(path).boxes)


def _read(path: Path) -> Leases:
    try:
        document = json.loads(path.read_bytes())
        boxes = {
            one: Lease(lease["v4"], lease["v6"], tuple(Port(**port) for port in lease["ports"]))
            for one, lease in document["boxes"].items()
        }
        return Leases(document["subnet"], boxes, document["before"])
    except FileNotFoundError:
        return Leases()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Error("the leases of addresses cannot be read", pointer=str(path)) from None


def _write(path: Path, leases: Leases) -> None:
    if not leases.boxes and not leases.subnet:
        path.unlink(missing_ok=True)
        return
    new = path.with_suffix(NEW)
    boxes = {
        one: lease._asdict() | {"ports": [port._asdict() for port in lease.ports]}
        for one, lease in leases.boxes.items()
    }
    new.write_text(json.dumps({"subnet": leases.subnet, "boxes": boxes, "before": leases.before}))
    new.rename(path)

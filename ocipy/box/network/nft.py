"""The rules for boxes, a table of our own, by the JSON of nft (libnftables-json(5)). No other table is touched."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ocipy import Error
from ocipy.box.network.leases import SUBNET6, Lease, Leases

FAMILY, TABLE = "inet", "ocipy_box"
# linux/netfilter_ipv4.h: as iptables' nat.
DSTNAT, SRCNAT = -100, 100

Rule = list[dict[str, Any]]


def ruleset(leases: Leases, bridge: str) -> dict[str, Any]:
    """The whole table anew, as one transaction. Pure."""
    commands: list[dict[str, Any]] = [{"add": {"table": _table()}}, {"delete": {"table": _table()}}]
    commands.append({"add": {"table": _table()}})
    for name, hook, priority in (
        ("prerouting", "prerouting", DSTNAT),
        ("output", "output", DSTNAT),
        ("postrouting", "postrouting", SRCNAT),
    ):
        chain = {"family": FAMILY, "table": TABLE, "name": name, "type": "nat", "hook": hook, "prio": priority}
        commands.append({"add": {"chain": {**chain, "policy": "accept"}}})
    for chain_name, expressions in [*_published(leases.boxes), *_masquerade(leases, bridge)]:
        rule = {"family": FAMILY, "table": TABLE, "chain": chain_name, "expr": expressions}
        commands.append({"add": {"rule": rule}})
    return {"nftables": commands}


def removal() -> dict[str, Any]:
    """The table goes, whether it is there or not."""
    return {"nftables": [{"add": {"table": _table()}}, {"delete": {"table": _table()}}]}


def _table() -> dict[str, str]:
    return {"family": FAMILY, "name": TABLE}


def _match(left: dict[str, Any], right: Any, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


def _field(protocol: str, name: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": name}}


def _network(text: str) -> dict[str, Any]:
    address, _, length = text.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}}


def _published(boxes: Mapping[str, Lease]) -> list[tuple[str, Rule]]:
    """What comes to a published port of the host's, from outside or from itself, goes to the box."""
    made = []
    for lease in boxes.values():
        for port in lease.ports:
            families = [("ip", lease.v4), ("ip6", lease.v6)]
            if port.address:
                families = [families[":" in port.address]]
            for family, address in families:
                rule: Rule = [_match({"meta": {"key": "nfproto"}}, "ipv4" if family == "ip" else "ipv6")]
                if port.address:
                    rule.append(_match(_field(family, "daddr"), port.address))
                else:
                    rule.append(_match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"))
                rule.append(_match(_field(port.protocol, "dport"), port.host))
                rule.append({"dnat": {"family": family, "addr": address, "port": port.box}})
                made += [("prerouting", rule), ("output", rule)]
    return made


def _masquerade(leases: Leases, bridge: str) -> list[tuple[str, Rule]]:
    made: list[tuple[str, Rule]] = []
    for family, subnet, loopback in (("ip", leases.subnet, "127.0.0.0/8"), ("ip6", SUBNET6, "::1/128")):
        outwards = [
            _match(_field(family, "saddr"), _network(subnet)),
            _match({"meta": {"key": "oifname"}}, bridge, "!="),
        ]
        made.append(("postrouting", [*outwards, {"masquerade": None}]))
        # From the host itself, and from a box by way of the host's port: the answer has to come back the same way.
        for source in (loopback, subnet):
            inwards = [
                _match(_field(family, "saddr"), _network(source)),
                _match({"meta": {"key": "oifname"}}, bridge),
                _match({"ct": {"key": "status"}}, "dnat", "in"),
            ]
            made.append(("postrouting", [*inwards, {"masquerade": None}]))
    return made


@contextmanager
def applied(document: dict[str, Any]) -> Iterator[None]:
    """Have nft(8) carry out a document, all of it or nothing, while the block does something else. Raises Error."""
    try:
        process = subprocess.Popen(
            ["nft", "-j", "-f", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise Error(
            "there is no nft, which a bridge takes", hint="install nftables; or --network host or none"
        ) from None
    assert process.stdin is not None
    with process.stdin, suppress(BrokenPipeError):
        process.stdin.write(json.dumps(document).encode())
    try:
        yield
    finally:
        process.stdin = None  # it is closed
        _, words = process.communicate()
    if process.returncode:
        said = words.decode("utf-8", "replace").strip().split("\n")[0]
        raise Error(f"nft has refused the rules of the bridge: {said}", hint="the kernel may lack nf_tables or nf_nat")

"""The rules for boxes, in a separate table, through nft's JSON (libnftables-json(5)). Touches no other table."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ocipy.box.network.leases import Lease, Leases
from ocipy.box.ports import families, is_any
from ocipy.box.tools import begin, check_installed, failed

FAMILY, TABLE = "inet", "ocipy_box"
# linux/netfilter_ipv4.h. RAW: before address translation.
RAW, DSTNAT, FILTER, SRCNAT = -300, -100, 0, 100
# What fails without nft, and what to do instead.
MISSING = ("cannot make or remove the bridge", "use --network host or none")
LOOPBACK = {"ip": "127.0.0.0/8", "ip6": "::1/128"}

Rule = list[dict[str, Any]]


def ruleset(leases: Leases, bridge: str) -> dict[str, Any]:
    """The commands that replace the whole table, in one transaction. Pure."""
    commands: list[dict[str, Any]] = [{"add": {"table": _table()}}, {"delete": {"table": _table()}}]
    commands.append({"add": {"table": _table()}})
    for name, kind, hook, priority in (
        ("loopback", "filter", "prerouting", RAW),
        ("prerouting", "nat", "prerouting", DSTNAT),
        ("output", "nat", "output", DSTNAT),
        ("forward", "filter", "forward", FILTER),
        ("postrouting", "nat", "postrouting", SRCNAT),
    ):
        chain = {"family": FAMILY, "table": TABLE, "name": name, "type": kind, "hook": hook, "prio": priority}
        commands.append({"add": {"chain": {**chain, "policy": "accept"}}})
    rules = [*_guarded(bridge), *_published(leases.boxes), *_masquerade(leases, bridge)]
    for chain_name, expressions in rules:
        rule = {"family": FAMILY, "table": TABLE, "chain": chain_name, "expr": expressions}
        commands.append({"add": {"rule": rule}})
    return {"nftables": commands}


def removal() -> dict[str, Any]:
    """The commands that remove the table, if it exists."""
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


def _guarded(bridge: str) -> list[tuple[str, Rule]]:
    """Only published ports can be reached. A box cannot reach the host's loopback (CVE-2020-8558: route_localnet, which
    published ports need, would permit it), and the outside cannot reach a box except through the host's ports."""
    from_bridge = _match({"meta": {"key": "iifname"}}, bridge)
    drop: dict[str, Any] = {"drop": None}
    made = [
        ("loopback", [from_bridge, _match(_field(family, "daddr"), _network(network)), drop])
        for family, network in LOOPBACK.items()
    ]
    to_boxes = [
        _match({"meta": {"key": "iifname"}}, bridge, "!="),
        _match({"meta": {"key": "oifname"}}, bridge),
        _match({"ct": {"key": "state"}}, "new", "in"),
        # The connection was not redirected to the box: "dnat" is not among the flags of its status.
        {"match": {"op": "==", "left": {"&": [{"ct": {"key": "status"}}, "dnat"]}, "right": 0}},
        drop,
    ]
    return [*made, ("forward", to_boxes)]


def _published(boxes: Mapping[str, Lease]) -> list[tuple[str, Rule]]:
    """Packets to a published port of the host, from outside or from the host, go to the box."""
    made = []
    for lease in boxes.values():
        for port in lease.ports:
            for version in families(port):
                family, address = ("ip", lease.v4) if version == 4 else ("ip6", lease.v6)
                rule: Rule = [_match({"meta": {"key": "nfproto"}}, "ipv4" if family == "ip" else "ipv6")]
                if is_any(port):
                    rule.append(_match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"))
                else:
                    rule.append(_match(_field(family, "daddr"), port.address))
                rule.append(_match(_field(port.protocol, "dport"), port.host))
                rule.append({"dnat": {"family": family, "addr": address, "port": port.box}})
                made += [("prerouting", rule), ("output", rule)]
    return made


def _masquerade(leases: Leases, bridge: str) -> list[tuple[str, Rule]]:
    made: list[tuple[str, Rule]] = []
    for family, subnet in (("ip", leases.subnet), ("ip6", leases.subnet6)):
        outwards = [
            _match(_field(family, "saddr"), _network(subnet)),
            _match({"meta": {"key": "oifname"}}, bridge, "!="),
        ]
        made.append(("postrouting", [*outwards, {"masquerade": None}]))
        # From the host itself, or from a box through the host's port: the answer must return the same way.
        for source in (LOOPBACK[family], subnet):
            inwards = [
                _match(_field(family, "saddr"), _network(source)),
                _match({"meta": {"key": "oifname"}}, bridge),
                _match({"ct": {"key": "status"}}, "dnat", "in"),
            ]
            made.append(("postrouting", [*inwards, {"masquerade": None}]))
    return made


def check() -> None:
    """Raises Error if nft(8) is missing: without it a bridge can neither be made nor removed."""
    check_installed("nft", *MISSING)


@contextmanager
def applied(document: dict[str, Any]) -> Iterator[None]:
    """Have nft(8) execute a document, all or nothing, in parallel with the block. Raises Error."""
    process = begin(
        ["nft", "-j", "-f", "-"], *MISSING,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    with process.stdin, suppress(BrokenPipeError):
        process.stdin.write(json.dumps(document).encode())
    try:
        yield
    finally:
        process.stdin = None  # it is closed
        _, words = process.communicate()
    if process.returncode:
        raise failed("nft", "nft rejected the rules of the bridge", words.decode("utf-8", "replace").split("\n")[0])

"""-p: published ports. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ocipy import Error
from ocipy.box.request import Port

HIGHEST = 65535
PROTOCOLS = ("tcp", "udp")
FORM = "[ADDRESS:]HOST:BOX[/udp]"


def parse_ports(word: str) -> tuple[Port, ...]:
    """-p [ADDRESS:]HOST:BOX[/PROTOCOL]; HOST and BOX are ports, or ranges of the same length: 8000-8010:80-90. Raises
    Error."""
    wrong = Error(
        f"--publish takes {FORM}, not {word!r}",
        hint="ranges have the same length on both sides: 8000-8010:80-90",
        status=2,
    )
    text, slash, protocol = word.partition("/")
    outside, colon, inside = text.rpartition(":")
    if not colon and inside:
        raise Error(
            f"--publish {word}: the port of the host is missing, and none is chosen automatically",
            hint=f"write {word}:{word}",
            status=2,
        )
    address, _, outside = outside.rpartition(":")
    if slash and protocol not in PROTOCOLS:
        raise Error(f"--publish {word}: the protocol must be tcp or udp", status=2)
    hosts, boxes = _range(outside), _range(inside)
    if not hosts or len(hosts) != len(boxes):
        raise wrong
    address = _address(address, word)
    return tuple(Port(host, box, protocol or "tcp", address) for host, box in zip(hosts, boxes, strict=True))


def _range(text: str) -> range:
    """The ports of a range; empty if it is not one."""
    first, dash, last = text.partition("-")
    numbers = [first, last if dash else first]
    if any(not (one.isascii() and one.isdecimal()) or len(one) > len(str(HIGHEST)) for one in numbers):
        return range(0)
    begin, end = map(int, numbers)
    return range(begin, end + 1) if 0 < begin <= end <= HIGHEST else range(0)


def _address(text: str, word: str) -> str:
    """The address in its shortest form, with IPv6 in brackets. Raises Error."""
    if not text:
        return ""
    import ipaddress

    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ipaddress.ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        address = None
    if address is None or bracketed != (address.version == 6) or "%" in text:
        hint = "IPv6 goes in brackets: 127.0.0.1:8080:80, [::1]:8080:80"
        raise Error(f"--publish {word}: {text} is not an address", hint=hint, status=2)
    return str(address)


def check_ports(ports: Iterable[Port]) -> None:
    """Raise Error if one host port would lead to two places."""
    seen: list[Port] = []
    for port in ports:
        clash = next((one for one in seen if overlap(one, port)), None)
        if clash is not None:
            raise Error(f"--publish: port {port.host}/{port.protocol} of the host is published twice", status=2)
        seen.append(port)


def families(port: Port) -> tuple[int, ...]:
    """The IP versions of the host's port: 4, 6 or both."""
    return (6 if ":" in port.address else 4,) if port.address else (4, 6)


def is_any(port: Port) -> bool:
    """Whether it is published at all of the host's addresses, of one family or both."""
    return port.address in ("", "0.0.0.0", "::")


def overlap(one: Port, two: Port) -> bool:
    """Whether a packet could match both."""
    if one.host != two.host or one.protocol != two.protocol or not set(families(one)) & set(families(two)):
        return False
    return is_any(one) or is_any(two) or one.address == two.address

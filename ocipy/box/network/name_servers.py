"""A box's name servers: the host's (resolv.conf(5))."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HOSTS = Path("/etc/resolv.conf")
# systemd-resolved's file, if the first names its stub (systemd-resolved(8)).
RESOLVED = Path("/run/systemd/resolve/resolv.conf")
LOOPBACK_SERVERS = ("127.", "::1")


def servers_in(resolv_conf: str) -> list[str]:
    """The addresses on the lines "nameserver ADDRESS". Pure."""
    lines = ([word for word in line.replace("\t", " ").split(" ") if word] for line in resolv_conf.split("\n"))
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def name_servers(files: Sequence[Path] = (HOSTS, RESOLVED)) -> tuple[str, ...]:
    """The host's name servers; instead of those on its loopback, which a box cannot reach, their upstream servers."""
    for path in files:
        try:
            found = servers_in(path.read_text(errors="replace"))
        except OSError:
            continue
        # An address with a zone is on a link of the host, which a box cannot reach either.
        reachable = [address for address in found if not address.startswith(LOOPBACK_SERVERS) and "%" not in address]
        if reachable:
            return tuple(reachable)
    return ()

"""A box's name servers: the host's (resolv.conf(5))."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HOSTS = Path("/etc/resolv.conf")
# systemd-resolved's file, if the first names its stub (systemd-resolved(8)).
RESOLVED = Path("/run/systemd/resolve/resolv.conf")
LOOPBACK_SERVERS = ("127.", "::1")


def name_servers(files: Sequence[Path] = (HOSTS, RESOLVED)) -> tuple[str, ...]:
    """The host's name servers; instead of those on its loopback, which a box cannot reach, their upstream servers."""
    for path in files:
        try:
            lines = path.read_text(errors="replace").split("\n")
        except OSError:
            continue
        found = [
            words[1]
            for line in lines
            if (words := [word for word in line.replace("\t", " ").split(" ") if word])[:1] == ["nameserver"]
            and len(words) > 1
        ]
        # One with a zone is on a link of the host.
        reachable = [one for one in found if not one.startswith(LOOPBACK_SERVERS) and "%" not in one]
        if reachable:
            return tuple(reachable)
    return ()

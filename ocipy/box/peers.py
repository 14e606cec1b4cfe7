"""The boxes on one network, which know each other by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from ocipy import Error
from ocipy.box.bundle import replace_file
from ocipy.box.network import Peer, hosts
from ocipy.box.network.leases import ids_with_leases, leases_path
from ocipy.box.places import Places
from ocipy.box.record import RECORD, Directory, Record, locked


def records(places: Places) -> Iterator[tuple[Directory, Record | Error]]:
    """The directory of every box, with its record, or the Error if that cannot be read. Without a record it is not a
    box's (Boxes.sweep)."""
    for path in places.boxes.iterdir():
        if path.name.startswith("."):
            continue
        directory = Directory(path)
        found: Record | Error
        try:
            found = directory.load()
        except Error as error:
            if not (path / RECORD).exists():
                continue
            found = error
        yield directory, found


def tell_peers(places: Places) -> None:
    """Update /etc/hosts in every box on the network with the boxes that are on it now.

    The updates take turns: if several boxes start at once, the last of them sees and tells them all.
    """
    with locked(places.run / "names.lock"):
        held = ids_with_leases(leases_path(places))
        there = [
            (directory, one)
            for directory, one in records(places)
            if isinstance(one, Record) and one.id in held and one.addresses
        ]
        for directory, one in there:
            peers = [_peer(other) for _, other in there if other.id != one.id]
            with suppress(Error):  # it is being removed
                replace_file(directory.path / "etc/hosts", hosts(one.request.hostname, one.addresses, peers))


def _peer(record: Record) -> Peer:
    return Peer((record.name, record.request.hostname), record.addresses)

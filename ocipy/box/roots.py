"""The root of a box's container: mounted by the runtime (overlayfs), or served by fuse-overlayfs."""

from __future__ import annotations

from pathlib import Path

from ocipy.box import fuse
from ocipy.box.bundle import id_maps
from ocipy.box.copy_on_write import FUSE
from ocipy.box.fuse import FuseRoot, PreparedRoot
from ocipy.box.places import Places
from ocipy.box.record import Directory, Record
from ocipy.box.runtime import Home


def root_of(home: Home, directory: Directory, record: Record, network: str) -> PreparedRoot:
    """The root of a box, to be entered while its container is made. network: the kind of the box's network."""
    if record.copy_on_write.by != FUSE:
        return PreparedRoot()
    maps = id_maps(record.request, home.rootless)
    with_network = network == "pasta"
    return FuseRoot(directory.path, record.rootfs, fuse_pid_path(home.places, record.id), maps, network=with_network)


def check(home: Home, directory: Directory, record: Record) -> None:
    """Raise Error if the root of a running box is no longer served."""
    if record.copy_on_write.by == FUSE:
        fuse.check_served(directory.path, fuse_pid_path(home.places, record.id), record.name)


def release(home: Home, directory: Directory, record: Record) -> None:
    """Wait until nothing writes to the upper directory of an ended box any more."""
    if record.copy_on_write.by == FUSE:
        fuse.release(directory.path, fuse_pid_path(home.places, record.id))


def fuse_pid_path(places: Places, box_id: str) -> Path:
    """The file with the pid of the box's fuse-overlayfs."""
    return places.run / f"{FUSE}-{box_id}.pid"

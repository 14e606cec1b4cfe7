"""Runs an idle process in a box that does not run, to make its files accessible. That is not a run of the box."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ocipy import Container
from ocipy.box import roots
from ocipy.box.bundle import Bundle
from ocipy.box.images import busybox
from ocipy.box.network.connection import Connection
from ocipy.box.record import Directory, Record
from ocipy.box.roots import root_of
from ocipy.box.runtime import Home, is_v2, make_runtime


@contextmanager
def started(home: Home, directory: Directory, record: Record, container: Container) -> Iterator[int]:
    """Run it during the block, and yield its pid. The caller holds the box's lock. Raises Error."""
    with root_of(home, directory, record, "none") as root, open(os.devnull, "r+b") as null:
        bundle = Bundle(directory, record, Connection(), rootless=home.rootless, v2=is_v2(), inner=root.inner)
        bundle.write_idle(busybox.find())
        runtime = make_runtime(home.places, root.before)
        idle = runtime.create(record.id, directory.bundle, stdin=null, stdout=null, stderr=null)
    try:
        container.start()
        yield idle.state().pid
    finally:
        container.delete(force=True)
        roots.release(home, directory, record)

"""Objects that several sections of config.json have in common."""

from __future__ import annotations

from typing import TypedDict

from ocipy.config.description.values import Uint32


class IDMapping(TypedDict):
    """A range of ids in the container, and the range of ids on the host that it is mapped to."""

    containerID: Uint32
    """The first id in the container."""
    hostID: Uint32
    """The first id on the host."""
    size: Uint32
    """The number of ids in each range."""

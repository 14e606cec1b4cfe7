"""Objects that several sections of config.json have in common."""

from __future__ import annotations

from typing import TypedDict

from ocipy.config.description.values import Uint32


class IDMapping(TypedDict):
    """A range of ids: `size` ids from `hostID` on are those from `containerID` on."""

    containerID: Uint32
    """The first id in the container."""
    hostID: Uint32
    """The first id on the host that it stands for."""
    size: Uint32
    """How many ids are mapped."""

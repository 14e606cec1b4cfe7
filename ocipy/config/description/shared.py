"""Objects that several sections of config.json have in common."""

from __future__ import annotations

from typing import TypedDict

from ocipy.config.description.values import Uint32


class IDMapping(TypedDict):
    """A range of `size` ids: those from `containerID` up in the container are those from `hostID` up on the host."""

    containerID: Uint32
    """The first id in the container."""
    hostID: Uint32
    """The first id on the host, to which it is mapped."""
    size: Uint32
    """How many ids are mapped."""

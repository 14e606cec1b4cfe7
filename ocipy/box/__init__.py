"""`ocipy box`: containers from images with one command, built on the public library (docs/box.md).

__all__ lists what a program may import; docs/library.md documents it. Boxes creates and finds boxes; a Box is one of
them, from its creation to its end.
"""

from __future__ import annotations

import importlib

__all__ = (
    "Box",
    "Boxes",
    "ExecRequest",
    "Image",
    "Limits",
    "LogLine",
    "Network",
    "Places",
    "Port",
    "Request",
    "Volume",
    "default_places",
)

# The module of each name.
MODULES = {
    "Box": "box",
    "Boxes": "boxes",
    "ExecRequest": "request",
    "Image": "images.store",
    "Limits": "request",
    "LogLine": "monitor",
    "Network": "network",
    "Places": "places",
    "Port": "request",
    "Request": "request",
    "Volume": "request",
    "default_places": "places",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.box.box import Box
    from ocipy.box.boxes import Boxes
    from ocipy.box.images.store import Image
    from ocipy.box.monitor import LogLine
    from ocipy.box.network import Network
    from ocipy.box.places import Places, default_places
    from ocipy.box.request import ExecRequest, Limits, Port, Request, Volume


def __getattr__(name: str) -> object:
    """Import the names of __all__ on first use (PEP 562): a command imports only what it needs."""
    if name in __all__:
        found: object = getattr(importlib.import_module(f"ocipy.box.{MODULES[name]}"), name)
        return found
    raise AttributeError(f"module 'ocipy.box' has no attribute {name!r}")

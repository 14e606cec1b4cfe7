"""`ocipy box`: containers from images by one command, as a user of the public library (docs/box.md).

What a program may import is in __all__. Boxes makes and finds them; Box is one, from its making to its end.
"""

from __future__ import annotations

from ocipy.box.box import Box
from ocipy.box.boxes import Boxes
from ocipy.box.images.store import Image
from ocipy.box.places import Places, default_places
from ocipy.box.request import Limits, Port, Request, Volume

__all__ = ("Box", "Boxes", "Image", "Limits", "Places", "Port", "Request", "Volume", "default_places")

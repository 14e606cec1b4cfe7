"""`box run --dry-run`: prints the config and every step of the plan. It makes nothing except the image."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ocipy.box.boxes import Boxes, with_defaults
from ocipy.box.bundle import Bundle, id_map_for_images
from ocipy.box.copy_on_write import as_words, choose
from ocipy.box.images import lookup
from ocipy.box.images.store import Image
from ocipy.box.network import HostNetwork
from ocipy.box.network.connection import Connection
from ocipy.box.record import GONE, Directory, Record, locked, now
from ocipy.box.request import Request
from ocipy.box.runtime import is_v2
from ocipy.box.trees import remove_tree

ID = "0123456789ab"  # a placeholder for a box's real id


def dry_run(boxes: Boxes, request: Request) -> str:
    """config.json and the plan, as text. Raises Error as the run itself would."""
    image = lookup.get(boxes.images, request.image, id_map=id_map_for_images(request, boxes.home.rootless))
    # Next to the boxes, so on their filesystem; if this is killed, the next box removes it like a removed box.
    with locked(boxes.places.boxes / ".lock"):
        top = Path(tempfile.mkdtemp(prefix=GONE, dir=boxes.places.boxes))
        try:
            return _described(boxes, request, image, Directory(top / ID))
        finally:
            remove_tree(top)


def _described(boxes: Boxes, request: Request, image: Image, directory: Directory) -> str:
    directory.make()
    asked = with_defaults(request, ID, boxes.home.rootless)
    chosen = choose(
        directory.path, image.rootfs, boxes.places.run, rootless=boxes.home.rootless, userns=request.userns == "auto"
    )
    record = Record(
        ID, "NAME", asked, image.name, image.key, image.rootfs, image.config, now(), copy_on_write=chosen
    )  # fmt: skip
    connection = HostNetwork() if record.request.network == "host" else Connection()
    bundle = Bundle(directory, record, connection, rootless=boxes.home.rootless, v2=is_v2())
    bundle.write()
    config = json.dumps(bundle.config(), indent=2)
    plan = str(boxes.home.runtime.plan(directory.bundle))
    parts = (("root", as_words(chosen)), ("config.json", config), ("plan", plan))
    text = "\n\n".join(f"{heading}\n\n{content}" for heading, content in parts)
    return text.replace(str(directory.path), str(boxes.places.boxes / ID))

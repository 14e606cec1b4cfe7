"""`box run --dry-run`: prints the config and every step of the plan. It makes nothing except the image."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ocipy.box.boxes import Boxes, with_defaults
from ocipy.box.bundle import Bundle, id_map_for_images
from ocipy.box.images import lookup
from ocipy.box.network import HostNetwork
from ocipy.box.network.connection import Connection
from ocipy.box.record import Directory, Record, now
from ocipy.box.request import Request
from ocipy.box.runtime import is_v2

ID = "0123456789ab"  # a placeholder for a box's real id


def dry_run(boxes: Boxes, request: Request) -> str:
    """config.json and the plan, as text. Raises Error as the run itself would."""
    image = lookup.get(boxes.images, request.image, id_map=id_map_for_images(request, boxes.home.rootless))
    with tempfile.TemporaryDirectory(prefix="ocipy-box-") as top:
        directory = Directory(Path(top) / ID)
        directory.make()
        asked = with_defaults(request, ID, boxes.home.rootless)
        record = Record(ID, "NAME", asked, image.name, image.key, image.rootfs, image.config, now())
        connection = HostNetwork() if record.request.network == "host" else Connection()
        bundle = Bundle(directory, record, connection, rootless=boxes.home.rootless, v2=is_v2())
        bundle.write()
        config = json.dumps(bundle.config(), indent=2)
        plan = str(boxes.home.runtime.plan(directory.bundle))
        place = boxes.places.boxes / ID
        return f"config.json\n\n{config}\n\nplan\n\n{plan}".replace(str(directory.path), str(place))

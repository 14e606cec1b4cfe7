"""`--dry-run` of the commands that create or start a box: the config, every step of the plan, and conmon's command
line. It creates nothing, but fetches the image."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocipy.box import monitor
from ocipy.box.box import Box
from ocipy.box.boxes import Boxes, with_defaults
from ocipy.box.bundle import Bundle, id_map_for_images
from ocipy.box.copy_on_write import as_words, choose
from ocipy.box.images import lookup
from ocipy.box.network import HostConnection
from ocipy.box.network.connection import Connection
from ocipy.box.record import GONE, Directory, Record, locked, now
from ocipy.box.request import Request
from ocipy.box.runtime import is_v2
from ocipy.box.trees import remove_tree

ID = "0123456789ab"  # a placeholder for a box's real id


def of_request(boxes: Boxes, request: Request, name: str = "", *, detach: bool = False) -> str:
    """What `run` or `create` would do, as text. Raises the same Errors."""
    image = lookup.get(boxes.images, request.image, id_map=id_map_for_images(request, boxes.home.rootless))
    asked = with_defaults(request, ID, boxes.home.rootless)
    with _directory(boxes, ID) as directory:
        chosen = choose(
            directory.path, image.rootfs, boxes.places.run, rootless=boxes.home.rootless,
            userns=request.userns == "auto",
        )  # fmt: skip
        record = Record(
            ID, name or "NAME", asked, image.name, image.key, image.rootfs, image.config, now(), copy_on_write=chosen
        )  # fmt: skip
        return _described(boxes, record, directory, detach=detach)


def of_start(boxes: Boxes, box: Box) -> str:
    """What `start` would do with a box, as text. Raises the same Errors."""
    with _directory(boxes, box.id) as directory:
        return _described(boxes, box.record, directory, detach=True)


@contextmanager
def _directory(boxes: Boxes, box_id: str) -> Iterator[Directory]:
    """A box's directory, which exists during the block. It is next to the boxes: on their filesystem. If we are killed,
    the next `create` removes it, like the rest of a removed box."""
    with locked(boxes.places.boxes / ".lock"):
        top = Path(tempfile.mkdtemp(prefix=GONE, dir=boxes.places.boxes))
        try:
            directory = Directory(top / box_id)
            directory.make()
            yield directory
        finally:
            remove_tree(top)


def _described(boxes: Boxes, record: Record, directory: Directory, *, detach: bool) -> str:
    connection = HostConnection() if record.request.network == "host" else Connection()
    bundle = Bundle(directory, record, connection, rootless=boxes.home.rootless, v2=is_v2())
    bundle.write()
    config = json.dumps(bundle.config(), indent=2)
    plan = str(boxes.home.runtime.plan(directory.bundle))
    parts = [("root", as_words(record.copy_on_write)), ("config.json", config), ("plan", plan)]
    if detach:
        runtime = boxes.home.runtime.executable.words
        calls = (monitor.words(directory, record, runtime), [*runtime, "start", record.id])
        parts.append(("commands", "\n".join(map(shlex.join, calls))))
    text = "\n\n".join(f"{heading}\n\n{content.rstrip()}" for heading, content in parts)
    return text.replace(str(directory.path), str(boxes.places.boxes / record.id))

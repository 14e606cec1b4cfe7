"""Finds what IMAGE names in the store, or fetches it (fetch.py, which imports more)."""

from __future__ import annotations

from datetime import UTC, datetime

from ocipy import Error
from ocipy.box.config import ImageConfig
from ocipy.box.images import reference
from ocipy.box.images.store import Image, Store


def get(store: Store, word: str, *, pull: bool = False, id_map: tuple[int, int] | None = None) -> Image:
    """The image that IMAGE names; fetches and unpacks it if it is missing or pull is set.

    id_map: (first host id, size) of the user namespace that owns its files. Raises Error.
    """
    where = reference.parse(word)
    if where.kind == "directory":
        if id_map is not None:
            raise Error(
                "a directory is used in place, so its files cannot get other owners", hint="make a tar archive of it"
            )
        return Image("", "", "", where.source, ImageConfig(command=("/bin/sh",)), 0, datetime.now(UTC))
    name = where.name + (f"+{id_map[0]}" if id_map else "")
    if not pull and where.kind in ("registry", "busybox"):
        found = store.find(name)
        if found is not None:
            return found
    from ocipy.box.images import fetch

    return fetch.fetch(store, where, name, id_map)

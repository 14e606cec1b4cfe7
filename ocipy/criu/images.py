"""Check that criu's images contain all the memory that they list. Cold.

If pages-ID.img ends too early, criu (4.1, 4.2) keeps reading forever. It notices other damage itself. pstree.img and
pagemap-PID.img are two magic words and then messages, each after its length: criu's pstree.proto, pagemap.proto.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from ocipy.criu import messages
from ocipy.criu.messages import Field, Fields
from ocipy.errors import Error

TREE: Fields = {"pid": Field(1, "int")}
HEAD: Fields = {"pages_id": Field(1, "int")}
# Up to criu 4.0 the number of pages is the second field.
ENTRY: Fields = {
    "compat_nr_pages": Field(2, "int"),
    "in_parent": Field(3, "bool"),
    "flags": Field(4, "int"),
    "nr_pages": Field(5, "int"),
}
PRESENT = 4  # PE_PRESENT: the entry's pages are in this checkpoint's file
MAGIC_SIZE = 8
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


def check_pages(directory: str) -> None:
    """Raise Error if a file of pages is shorter than its process's pagemap says. directory: of the images.

    Only processes of this checkpoint count, since an earlier one may have left files in the directory.
    """
    for pid in _processes(directory):
        try:
            number, pages = pages_of(_read(f"{directory}/pagemap-{pid}.img"))
            path = f"{directory}/pages-{number}.img"
            has, wanted = os.stat(path).st_size, pages * PAGE_SIZE
        except (OSError, ValueError):
            continue  # criu reports that itself
        if has < wanted:
            raise Error(f"the image {path} is truncated: it has {has} of {wanted} bytes", pointer="--image-path")


def _processes(directory: str) -> list[int]:
    try:
        return [messages.decode(TREE, message).get("pid", 0) for message in _messages(_read(f"{directory}/pstree.img"))]
    except (OSError, ValueError):
        return []


def pages_of(data: bytes) -> tuple[int, int]:
    """Return (id of the file of pages, number of pages in it), given a pagemap. Raises ValueError."""
    entries = _messages(data)
    number = messages.decode(HEAD, next(entries, b"")).get("pages_id", 0)
    count = 0
    for message in entries:
        entry = messages.decode(ENTRY, message)
        present = entry["flags"] & PRESENT if "flags" in entry else not entry.get("in_parent")
        if present:
            count += entry.get("nr_pages", 0) or entry.get("compat_nr_pages", 0)
    return number, count


def _messages(data: bytes) -> Iterator[bytes]:
    at = MAGIC_SIZE
    while at < len(data):
        if at + 4 > len(data):
            raise ValueError("the length is truncated")
        (length,) = struct.unpack_from("<I", data, at)
        if at + 4 + length > len(data):
            raise ValueError("the message is truncated")
        yield data[at + 4 : at + 4 + length]
        at += 4 + length


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()

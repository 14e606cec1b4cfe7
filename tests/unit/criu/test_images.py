"""The number of pages that criu's images list, and whether the images contain them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from ocipy.criu.images import ENTRY, HEAD, PAGE_SIZE, TREE, check_pages, pages_of
from ocipy.criu.messages import encode
from ocipy.errors import Error


def image(*messages: bytes) -> bytes:
    return b"magicmag" + b"".join(struct.pack("<I", len(message)) + message for message in messages)


def pagemap(number: int, *entries: dict[str, Any]) -> bytes:
    return image(encode(HEAD, {"pages_id": number}), *(encode(ENTRY, entry) for entry in entries))


def test_pages_that_are_present_count() -> None:
    data = pagemap(
        3,
        {"compat_nr_pages": 2, "flags": 4},
        {"nr_pages": 5, "compat_nr_pages": 5, "flags": 6},
        {"nr_pages": 7, "flags": 1},  # in the parent's images
        {"nr_pages": 9, "flags": 2},  # at the lazy-pages server
        {"compat_nr_pages": 11},
        {"compat_nr_pages": 13, "in_parent": True},
    )
    assert pages_of(data) == (3, 18)


def test_a_truncated_file_of_pages(tmp_path: Path) -> None:
    (tmp_path / "pstree.img").write_bytes(image(encode(TREE, {"pid": 7}), encode(TREE, {"pid": 9})))
    (tmp_path / "pagemap-7.img").write_bytes(pagemap(1, {"compat_nr_pages": 2, "flags": 4}))
    (tmp_path / "pagemap-8.img").write_bytes(pagemap(1, {"compat_nr_pages": 9, "flags": 4}))  # of an earlier checkpoint
    pages = tmp_path / "pages-1.img"
    pages.write_bytes(bytes(2 * PAGE_SIZE))
    check_pages(str(tmp_path))
    pages.write_bytes(bytes(2 * PAGE_SIZE - 1))
    with pytest.raises(Error) as caught:
        check_pages(str(tmp_path))
    size = 2 * PAGE_SIZE
    assert caught.value.line == f"--image-path: the image {pages} is truncated: it has {size - 1} of {size} bytes"
    pages.unlink()
    check_pages(str(tmp_path))  # criu reports that itself


@pytest.mark.parametrize("data", [b"", b"magicmag\xff", b"magicmag\x04\x00\x00\x00\x08"])
def test_a_malformed_pagemap_is_left_to_criu(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pstree.img").write_bytes(image(encode(TREE, {"pid": 7})))
    (tmp_path / "pagemap-7.img").write_bytes(data)
    check_pages(str(tmp_path))
    (tmp_path / "pstree.img").write_bytes(data)
    check_pages(str(tmp_path))

"""init/masks.py: only the real null device, checked by type and number, covers masked files (CVE-2025-31133)."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.init import masks
from ocipy.init.context import Init
from ocipy.linux import _kernel
from ocipy.linux.channel import pair
from ocipy.plan.masks import TakeNull


def init_that_finds(monkeypatch: pytest.MonkeyPatch, path: str) -> Init:
    """Return an init that finds this file in place of the host's /dev/null."""

    def open_tree(_directory: int, asked: str, _flags: int) -> int:
        assert asked == "/dev/null"
        return os.open(path, os.O_PATH)

    def mount_setattr(*_arguments: Any) -> None:
        pass

    monkeypatch.setattr(_kernel, "open_tree", open_tree)
    monkeypatch.setattr(_kernel, "mount_setattr", mount_setattr)
    return Init(channel=pair()[0], state={})


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/etc/passwd", "/proc/self/fd", "/"])
def test_anything_but_the_null_device_is_refused(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    init = init_that_finds(monkeypatch, path)
    with pytest.raises(Error, match="the host's /dev/null is not the null device"):
        masks.take_null(init, TakeNull())
    assert init.file_cover is None


def test_the_null_device_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    init = init_that_finds(monkeypatch, "/dev/null")
    masks.take_null(init, TakeNull())
    assert init.file_cover is not None
    os.close(init.file_cover.fd)

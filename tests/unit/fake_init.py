"""An Init for tests of single steps of the init lane: the root is a directory, the procfs is the host's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ocipy.init.context import Init
from ocipy.linux.channel import Channel


class Messages(Channel):
    """Keeps the messages instead of sending them."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        super().__init__(-1)
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send(self, kind: str, body: dict[str, Any] | None = None, fd: int = -1) -> None:
        self.sent.append((kind, body or {}))


def fake_init(rootfs: Path) -> Init:
    """The caller closes init.rootfs and init.proc."""
    init = Init(channel=Messages(), state={})
    init.rootfs = os.open(rootfs, os.O_PATH | os.O_DIRECTORY)
    init.proc = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    return init

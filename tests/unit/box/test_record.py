"""The record of a box: whatever is wrong with it, the error names the box."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ocipy import Error
from ocipy.box.config import ImageConfig
from ocipy.box.record import RECORD, Directory, Record
from ocipy.box.request import Request

ID = "0123456789ab"
GOOD = Record(ID, "web", Request("busybox"), "busybox", "", "/image", ImageConfig(), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    made = Directory(tmp_path / ID)
    made.make()
    return made


def test_it_is_read_as_it_was_written(directory: Directory) -> None:
    directory.save(GOOD)
    assert directory.load().to_json() == GOOD.to_json()


@pytest.mark.parametrize(
    "damage", [{"id": "ba9876543210"}, {"name": 5}, {"rootfs": None}, {"request": {}}, {"request": 1}, {"created": ""}]
)
def test_a_damaged_record_is_named(directory: Directory, damage: dict[str, Any]) -> None:
    (directory.path / RECORD).write_text(json.dumps(GOOD.to_json() | damage))
    with pytest.raises(Error, match=f"record of box {ID} cannot be read") as caught:
        directory.load()
    assert caught.value.hint.endswith(f"rm -f {ID}")

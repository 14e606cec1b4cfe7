"""A bridge that cannot be made leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocipy import Error
from ocipy.box.network.bridge import BridgeConnection
from ocipy.box.places import Places


def test_without_nft_no_lease_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without nft the lease could not be returned either, and so the box could not be removed.
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Error, match="nft is not installed"), BridgeConnection("1" * 12, (), Places(tmp_path, tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []

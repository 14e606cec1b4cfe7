"""Concerns that few configs have."""

from __future__ import annotations

import pytest

from ocipy.plan import rare


def test_a_member_asks_for_one_concern() -> None:
    """Otherwise one of the two would be skipped silently."""
    with pytest.raises(ValueError, match="personality"):
        rare._concern(("linux", "personality"))

"""Who copies a user's root on write."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocipy.box import copy_on_write
from ocipy.box.copy_on_write import KERNEL, choose


@pytest.mark.parametrize(("refusal", "noted"), [(0, 1), (None, 0)])
def test_consent_is_noted_only_if_the_kernel_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None, noted: int
) -> None:
    for name in ("box", "lower", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(copy_on_write, "refusal_of_kernel", lambda *_places: refusal)
    assert choose(tmp_path / "box", str(tmp_path / "lower"), tmp_path / "run", rootless=True).by == KERNEL
    assert len(list((tmp_path / "run").iterdir())) == noted

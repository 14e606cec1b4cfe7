"""What copies a root on write, where the kernel agrees and where it refuses."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ocipy import Error
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


def test_roots_box_with_a_user_namespace_is_refused_where_the_kernel_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before Linux 5.11."""
    for name in ("box", "lower", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(copy_on_write, "refusal_of_kernel", lambda *_places: errno.EPERM)
    where = (tmp_path / "box", str(tmp_path / "lower"), tmp_path / "run")
    with pytest.raises(Error, match="overlayfs refuses a user namespace here: Operation not permitted") as caught:
        choose(*where, rootless=False, userns=True)
    assert "Linux 5.11" in caught.value.hint and "--userns auto" in caught.value.hint
    assert choose(*where, rootless=False).by == KERNEL
    assert list((tmp_path / "run").iterdir()) == []

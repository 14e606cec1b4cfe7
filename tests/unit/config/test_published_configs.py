"""150 published config.json files: ocipy judges each without a traceback; tests/configs/refused.toml lists the refused
ones with reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit import published

DOCUMENTS = published.documents()
pytestmark = pytest.mark.skipif(not DOCUMENTS, reason=f"the published configs are not at {published.FOLDER}")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").mkdir()
    return tmp_path


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_validate_and_plan_come_to_the_same_judgement_without_a_traceback(path: Path, bundle: Path) -> None:
    errors, refused = published.judged(path, bundle)
    assert bool(errors) == bool(refused), (errors, refused)
    assert len(set(errors)) == len(errors)
    published.judged(path, bundle, host=None)


def test_the_list_has_each_refused_config_with_its_reason(bundle: Path) -> None:
    errors = {path.stem: published.judged(path, bundle)[0] for path in DOCUMENTS}
    listed = {reason["text"]: reason["at"] for reason in published.reasons()}
    assert published.by_reason(errors) == listed, "python -m tests.unit.published puts it in order"


def test_what_runc_accepts_is_refused_only_where_the_specification_demands_it() -> None:
    for reason in published.reasons():
        assert reason["runc"] in ("refuses", "fails", "accepts")
        if reason["runc"] == "accepts":
            assert "REQUIRED" in reason["because"] or "MUST" in reason["because"], reason

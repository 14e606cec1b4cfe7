"""linux.maskedPaths and linux.readonlyPaths: from config to steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ocipy.plan import masks
from ocipy.plan.masks import Mask, ReadonlyPath, TakeNull
from ocipy.plan.model import Host, Options, Planner, Step
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="c", bundle="/b")


def planned(namespaces: tuple[str, ...] = ("mount",), **linux: Any) -> Sequence[Step]:
    config: Any = {"linux": {"namespaces": [{"type": kind} for kind in namespaces], **linux}}
    planner = Planner(config, Host(), OPTIONS)
    masks.plan_null(planner)
    masks.plan_readonly_paths(planner)
    masks.plan_masked_paths(planner)
    assert planner.plan.host == []
    return planner.plan.init


def test_steps() -> None:
    assert planned(maskedPaths=["/proc/kcore", "/sys/firmware"], readonlyPaths=["/proc/sys"]) == [
        TakeNull("/linux/maskedPaths"),
        ReadonlyPath("/linux/readonlyPaths/0", path="/proc/sys"),
        Mask("/linux/maskedPaths/0", path="/proc/kcore", label=""),
        Mask("/linux/maskedPaths/1", path="/sys/firmware", label=""),
    ]


def test_null_paths() -> None:
    assert planned(readonlyPaths=["/proc/sys"], maskedPaths=None)[0].action == "readonly_path"
    assert planned() == []


def test_repetitions_are_left_out() -> None:
    steps = planned(maskedPaths=["/a", "/b", "//a/.", "/b"])
    assert [step.pointer for step in steps[1:]] == ["/linux/maskedPaths/0", "/linux/maskedPaths/1"]


@pytest.mark.parametrize("member", ["maskedPaths", "readonlyPaths"])
@pytest.mark.parametrize(
    ("paths", "namespaces", "pointer"),
    [
        (["/a"], ("pid",), ""),
        (["/a", "b"], ("mount",), "/1"),
        (["/a\0"], ("mount",), "/0"),
    ],
)
def test_what_is_refused(member: str, paths: list[str], namespaces: tuple[str, ...], pointer: str) -> None:
    linux = {"namespaces": [{"type": kind} for kind in namespaces], member: paths}
    assert refused_at({"linux": linux}) == [f"/linux/{member}{pointer}"]

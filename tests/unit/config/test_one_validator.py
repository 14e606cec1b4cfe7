"""config/ judges documents, and the plan relies on it: nothing is refused twice, in two wordings."""

from __future__ import annotations

import json
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.operations import bundle, plan
from ocipy.operations.validate import ERROR, validate
from ocipy.plan.build import build
from ocipy.plan.model import Host, Options
from tests.unit import published
from tests.unit.config.rules_across_fields import BROKEN

HOSTS = (
    published.HOST,
    Host(
        cgroup_mode="v2",
        cgroup_controllers=("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"),
        apparmor=True,
        selinux=True,
    ),
)
EACH = pytest.mark.parametrize(("document", "pointer"), BROKEN, ids=[f"{n}-{p}" for n, (_, p) in enumerate(BROKEN)])


def bundle_of(directory: Path, document: Any) -> str:
    (directory / "rootfs").mkdir()
    (directory / "config.json").write_text(json.dumps(document))
    return str(directory)


@EACH
def test_create_and_plan_refuse_it_before_they_plan(
    document: Any, pointer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_: object, **__: object) -> None:
        raise AssertionError("the plan has been reached")

    path = bundle_of(tmp_path, document)
    with pytest.raises(Error) as read:
        bundle.read(path)  # as create does before it plans
    assert read.value.pointer == pointer
    monkeypatch.setattr(plan, "build", reached)
    with pytest.raises(Error) as planned:
        plan.plan_bundle(
            path, "config.json", root="/run/ocipy", rootless=None, no_pivot=False, no_new_keyring=False,
            cgroup_manager="cgroupfs",
        )  # fmt: skip
    assert planned.value.pointer == pointer


@EACH
def test_the_plan_does_not_refuse_it_again(document: Any, pointer: str) -> None:
    """Given such a document nevertheless, the plan asserts, fails or ignores it; it refuses what the host lacks."""
    refused = []
    for host in HOSTS:
        with suppress(AssertionError, LookupError, TypeError, ValueError):
            try:
                build(deepcopy(document), host, Options(container_id="c", bundle="/b", has_console=True))
            except Error as error:
                refused.append(error.pointer)
    assert refused.count(pointer) < len(HOSTS)


@EACH
def test_validate_says_it_once(document: Any, pointer: str, tmp_path: Path) -> None:
    found = [finding for finding in validate(bundle_of(tmp_path, document)) if finding.severity == ERROR]
    assert [finding.pointer for finding in found].count(pointer) == 1

"""Containers of older versions: this version shows, stops and deletes them.

MEMBERS has what state.json contained then, as `tests/upgrade/run` found it in the versions themselves, which it builds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import Container

pytestmark = pytest.mark.ocipy_only("its own state")

MakeContainer = Callable[..., Container]
FIRST = (
    "ociVersion", "id", "bundle", "rootfs", "pid", "startTime", "created", "executable", "annotations", "cgroup",
    "hooks", "noNewKeyring",
)  # fmt: skip
MEMBERS = {"22ff1b8, 2026-11-22": FIRST, "e9b10f1, 2026-11-25": (*FIRST, "streams")}


def age(one: Container, members: tuple[str, ...]) -> None:
    """Rewrite a container's state as an older version would have left it."""
    path = one.runtime.root / one.id / "state.json"
    document: dict[str, Any] = {name: json.loads(path.read_text())[name] for name in members}
    document["cgroup"] = {name: document["cgroup"][name] for name in ("mode", "paths", "created")}
    if members == FIRST:
        document["executable"] = "/memfd:ocipy (deleted)"
    path.write_text(json.dumps(document))


@pytest.fixture(params=MEMBERS)
def older(request: pytest.FixtureRequest, container: MakeContainer) -> Container:
    one = container()
    age(one, MEMBERS[request.param])
    return one


def test_a_waiting_one_is_deleted(older: Container) -> None:
    older.runtime.call("delete", "--force", older.id).ok()
    assert not (older.runtime.root / older.id).exists()
    older.wait_dead()


def test_a_running_one_is_used_stopped_and_deleted(container: MakeContainer) -> None:
    for members in MEMBERS.values():
        one = container()
        one.runtime.call("start", one.id).ok()
        age(one, members)
        call = one.runtime.call
        assert json.loads(call("state", one.id).ok().stdout)["status"] == "running"
        assert call("exec", one.id, "sh", "-c", "exit 3").status == 3
        call("pause", one.id).ok()
        call("resume", one.id).ok()
        call("update", "--pids-limit", "20", one.id).ok()
        call("kill", one.id, "KILL").ok()
        one.wait_dead()
        call("delete", one.id).ok()


def test_a_waiting_one_of_the_same_form_is_started(container: MakeContainer) -> None:
    """The first versions did not record which file their init executes, so it counts as running."""
    one = container()
    age(one, MEMBERS["e9b10f1, 2026-11-25"])
    one.runtime.call("start", one.id).ok()

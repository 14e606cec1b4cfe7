"""Races of commands for one container, and killed creates: one wins, and nothing incomplete remains."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.harness import Bundle, Container, Runtime, wait_until

MakeContainer = Callable[..., Container]


def test_two_creates_of_one_id(runtime: Runtime, make_bundle: Callable[..., Bundle], new_id: Callable[[], str]) -> None:
    bundles = [make_bundle(), make_bundle(), make_bundle()]
    for number, bundle in enumerate(bundles):
        bundle.sh(f"echo winner {number}; exec sleep 1000").write()
    for _ in range(6):
        id = new_id()
        calls = [runtime.begin("create", "--bundle", bundle.path, id) for bundle in bundles]
        results = [call.wait() for call in calls]
        winners = [number for number, result in enumerate(results) if result.status == 0]
        assert len(winners) == 1, results
        for number, result in enumerate(results):
            if number not in winners:
                result.fails("exists")
        state = runtime.state(id)
        assert (state["status"], state["bundle"]) == ("created", str(bundles[winners[0]].path))
        runtime.start(id).ok()
        wait_until(lambda: results[winners[0]].stdout_path.read_text() == f"winner {winners[0]}\n")  # noqa: B023
        runtime.delete(id, force=True).ok()
        assert runtime.ids() == []


@pytest.mark.differs_from_runc("of two starts at once one may hang", always=False)
def test_two_starts_of_one_container(container: MakeContainer) -> None:
    for _ in range(4):
        one = container(sh="echo once; exec sleep 1000")
        calls = [one.runtime.begin("start", one.id) for _ in range(3)]
        statuses = sorted(call.wait(10).status for call in calls)
        assert statuses == [0, 1, 1]
        one.wait_output("once\n")
        one.end()


def test_create_against_delete(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    """Whichever wins, the result is a complete container or none."""
    bundle.args("sleep", "1000").write()
    chance = random.Random(1)
    for _ in range(8):
        id = new_id()
        create = runtime.begin("create", "--bundle", bundle.path, id)
        time.sleep(chance.uniform(0, 0.04))
        runtime.delete(id, force=True).ok()
        if create.wait().status == 0 and id in runtime.ids():
            runtime.start(id).ok()
        runtime.delete(id, force=True).ok()
        assert runtime.ids() == []


@pytest.mark.differs_from_runc("a killed create of runc's leaves cgroups that no command knows", always=False)
def test_create_killed_at_any_moment(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], assert_nothing_left: Callable[[], None]
) -> None:
    """delete --force removes the leftovers of a killed create."""
    bundle.args("sleep", "1000").write()
    chance = random.Random(2)
    begun = time.monotonic()
    id = new_id()
    runtime.create(bundle, id).ok()
    whole = time.monotonic() - begun
    runtime.delete(id, force=True).ok()
    for _ in range(25):
        id = new_id()
        create = runtime.begin("create", "--bundle", bundle.path, id)
        time.sleep(chance.uniform(0, whole * 1.2))
        create.signal(signal.SIGKILL)
        create.wait()
        runtime.delete(id, force=True).ok()
        assert_nothing_left()


@pytest.mark.differs_from_runc("a killed create of runc's leaves cgroups that no command knows")
def test_a_killed_create_leaves_a_known_container(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], assert_nothing_left: Callable[[], None]
) -> None:
    """Killed while a hook runs: init exists by then, so either `state` knows the id, or everything is gone."""
    marker = bundle.path / "hook-began"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"touch {marker}; exec sleep 1"]}
    bundle.config["hooks"] = {"createRuntime": [hook]}
    id = new_id()
    bundle.args("sleep", "1000").write()
    create = runtime.begin("create", "--bundle", bundle.path, id)
    wait_until(marker.exists)
    create.signal(signal.SIGKILL)
    create.wait()
    answer = runtime.call("state", id)
    if answer.status == 0:
        assert json.loads(answer.stdout)["status"] in ("creating", "stopped")
    else:
        answer.fails("does not exist")
    runtime.delete(id, force=True).ok()
    assert runtime.ids() == []
    time.sleep(1)  # the hook, a child of the killed process, ends on its own
    assert_nothing_left()

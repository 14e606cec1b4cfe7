"""pause, ps, update and events for a user: without its own cgroup a container lacks these, and the error says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness import Bundle, Container
from tests.harness.user import UserRuntime

MakeContainer = Callable[..., Container]

pytestmark = [pytest.mark.unprivileged, pytest.mark.ocipy_only("runc's error texts differ")]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("pause",), "the container has no cgroup with a freezer"),
        (("resume",), "container not paused"),
        (("ps",), "the container has no cgroup, so its processes are unknown"),
        (("ps", "--format", "json"), "the container has no cgroup, so its processes are unknown"),
        (("events", "--stats"), "the container has no cgroup with statistics"),
        (("events",), "the container has no cgroup with statistics"),
        (("update", "--memory", "100M"), "the container has no"),
    ],
)
def test_without_a_cgroup(
    container: MakeContainer, runtime: UserRuntime, bundle: Bundle, words: tuple[str, ...], text: str
) -> None:
    one = container(bundle, args=["sleep", "1000"]).start()
    runtime.call(*words, one.id, timeout=20).fails(text)
    assert one.status == "running"

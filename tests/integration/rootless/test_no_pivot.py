"""--no-pivot by a user: the host's mounts cannot be unmounted, so its procfs and sysfs are covered."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.harness import Bundle, Container, Mount
from tests.harness.behind import behind, visible
from tests.harness.user import UserRuntime

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]

pytestmark = pytest.mark.unprivileged


@pytest.fixture(params=["own", "ranges", "one_id", "podmans"])
def any_bundle(request: pytest.FixtureRequest, bundle: Bundle) -> Bundle:
    """With a new user namespace of one id and of many, and without one, with the caller in one."""
    if request.param in ("one_id", "podmans"):
        request.getfixturevalue("without_user_namespace")
    if request.param != "own":
        request.getfixturevalue(request.param)
    return bundle


@pytest.mark.parametrize("readonly", [False, True])
def test_the_root(runtime: UserRuntime, any_bundle: Bundle, new_id: NewId, readonly: bool) -> None:
    any_bundle.config["root"]["readonly"] = readonly
    script = "ls /; touch /made 2> /dev/null && echo made"
    result = runtime.run(any_bundle.sh(script + "; exit 0"), new_id(), "--no-pivot").ok()
    names = {entry.name for entry in any_bundle.rootfs.iterdir()} - {"made"}
    assert sorted(result.lines) == sorted(names if readonly else [*names, "made"])


def test_the_hosts_proc_and_sys_are_covered(container: MakeContainer, any_bundle: Bundle) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can take the container's root off")
    any_bundle.file("/etc/mark", "here")
    one = container(any_bundle.args("sleep", "1000"), "--no-pivot").start()
    assert one.exec("cat", "/etc/mark").ok().stdout == "here"

    def look(mounts: list[Mount]) -> tuple[list[str], list[str]]:
        return visible(mounts), [*os.listdir("/proc"), *os.listdir("/sys")]

    assert behind(one.pid, look) == ([], [])

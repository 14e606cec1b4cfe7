"""The harness's promises to the tests of an unprivileged user."""

from __future__ import annotations

import os

import pytest

from tests.harness.look import proc_mounts
from tests.harness.user import UserRuntime

pytestmark = pytest.mark.ocipy_only("about the harness alone")


def test_hidepid_is_the_calls_own(runtime: UserRuntime, hidepid: int) -> None:
    """The user sees only their own processes; no other /proc has changed, and pids are the host's."""
    before = [mount for mount in proc_mounts() if mount.point == "/proc"]
    other = f"/proc/{os.getpid()}"
    assert runtime.spawn([*runtime.user, "cat", f"{other}/stat"]).wait().status != 0
    there = runtime.spawn([*runtime.user, "test", "-d", other]).wait().status == 0
    assert there == (hidepid == 1)
    pid = runtime.spawn([*runtime.user, "sh", "-c", "read -r pid rest < /proc/self/stat; echo $pid"])
    assert pid.wait().ok().stdout == f"{pid.pid}\n"
    assert [mount for mount in proc_mounts() if mount.point == "/proc"] == before

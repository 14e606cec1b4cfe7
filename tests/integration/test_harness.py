"""The harness itself: what it promises to the other tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.harness import Bundle, Container, Result, Runtime, wait_until
from tests.harness.leaks import Leaks
from tests.integration.conftest import CGROUP_PARENT, TOKEN


def test_script_runs_in_container(sh: Callable[..., Result]) -> None:
    assert sh("echo hello; echo words >&2; exit 3").status == 3


def test_container_is_made_and_looked_at(container: Callable[..., Container]) -> None:
    one = container(sh="echo ready; exec sleep 1000")
    assert one.status == "created"
    one.start()
    one.wait_output("ready")
    wait_until(lambda: one.proc_status()["Name"] == "sleep")
    assert one.enter("hostname").stdout.strip() == "ocipy-test"
    one.end()


def test_leak_check_sees_each_kind(
    runtime: Runtime, container: Callable[..., Container], work: Path, no_leaks: Leaks
) -> None:
    """A container, a process, a mount and a descriptor left behind are found, and cleaned away."""
    one = container()
    sleeper = subprocess.Popen(["sleep", "1000"])
    (work / "mnt").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", work / "mnt"], check=True)
    descriptor = os.open("/dev/null", os.O_RDONLY)
    left = "\n".join(no_leaks.found([runtime], patience=0))
    assert f"container {one.id}" in left
    assert f"process {sleeper.pid}" in left and f"process {one.pid}" in left
    assert f"mount {work}/mnt" in left
    assert f"descriptor {descriptor}" in left
    assert "cgroup " in left and TOKEN in left
    no_leaks.clean([runtime])
    assert no_leaks.found([runtime]) == []
    sleeper.wait()
    assert CGROUP_PARENT


def test_bundle_is_independent(make_bundle: Callable[..., Bundle]) -> None:
    """Writing a file of one bundle does not reach the original through its hard link."""
    one, other = make_bundle(), make_bundle()
    one.file("/etc/passwd", "changed")
    one.file("/bin/true", "changed")
    assert (other.rootfs / "etc/passwd").read_text() != "changed"
    assert os.readlink(other.rootfs / "bin/true") == "busybox"

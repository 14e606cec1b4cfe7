"""The harness keeps its promises to the other tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, cgroups_of, proc_status, process_state, wait_until
from tests.harness.cgroups import remove_cgroups
from tests.harness.leaks import Leaks
from tests.harness.look import cgroup_hierarchies
from tests.integration.conftest import CGROUP_PARENT, TOKEN


def test_script_runs_in_container(sh: Callable[..., Result]) -> None:
    assert sh("echo hello; echo words >&2; exit 3").status == 3


def test_container_is_made_and_inspected(container: Callable[..., Container]) -> None:
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
    """The leak check finds and removes a leaked container, process, mount and file descriptor."""
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


@pytest.fixture
def deep() -> Iterator[Callable[[str], Path]]:
    """Make a cgroup with a tree in it that is deeper than the longest path and Python's stack."""
    hierarchies = cgroup_hierarchies()
    top, made = hierarchies.get("pids", hierarchies.get("")), []
    assert top is not None

    def make(name: str) -> Path:
        assert top is not None
        made.append(name)
        (top / name).mkdir()
        fd = os.open(top / name, os.O_RDONLY)
        for level in range(1100):
            below = b"n" * 250 if level < 20 else b"\xff\x1c"
            os.mkdir(below, dir_fd=fd)
            fd, above = os.open(below, os.O_RDONLY, dir_fd=fd), fd
            os.close(above)
        os.close(fd)
        return top / name

    yield make
    for name in made:
        assert remove_cgroups(name) == []


def test_leak_check_removes_cgroups_of_any_depth_and_name(deep: Callable[[str], Path], no_leaks: Leaks) -> None:
    place = deep(f"{TOKEN}-deep")
    left = no_leaks.found([], patience=0)
    assert f"cgroup {place}" in left
    assert len(left) == 1101
    assert all(line.isprintable() for line in left)
    no_leaks.clean([])
    assert no_leaks.found([]) == []
    assert not place.exists()


def test_leak_check_leaves_other_sessions_cgroups_alone(deep: Callable[[str], Path], no_leaks: Leaks) -> None:
    """Another session's tree is not ours, even with our token below it."""
    other = deep("ocipy-neighbour-of-" + TOKEN[::-1])
    (other / TOKEN).mkdir()
    assert no_leaks.found([], patience=0) == []
    no_leaks.clean([])
    assert (other / TOKEN).is_dir()


def test_text_of_the_kernel_is_split_at_newlines_only(container: Callable[..., Container]) -> None:
    """The name of a process, a line in /proc/PID/status, can contain a fake line end."""
    script = "printf '\\377) Z\\034CapEff:\\t1\\205' > /proc/self/comm; echo ready; sleep 1000; true"
    one = container(sh=script).start()
    one.wait_output("ready")
    assert process_state(one.pid) != "Z"
    assert proc_status(one.pid)["CapEff"] != "1"
    assert len(cgroups_of(one.pid)) > 0 and len(one.mounts()) > 0


def test_bundle_is_independent(make_bundle: Callable[..., Bundle]) -> None:
    """Writing a file of a bundle does not change the original through its hard link."""
    one, other = make_bundle(), make_bundle()
    one.file("/etc/passwd", "changed")
    one.file("/bin/true", "changed")
    assert (other.rootfs / "etc/passwd").read_text() != "changed"
    assert os.readlink(other.rootfs / "bin/true") == "busybox"

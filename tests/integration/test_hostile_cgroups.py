"""Cgroups that a container makes below its own to mislead or obstruct the runtime."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, cgroups_of, descendants, process_state, wait_until
from tests.harness.look import cgroup_hierarchies
from tests.integration.conftest import CGROUP_PARENT
from tests.integration.test_cgroup_mount import WRITABLE, options

MakeContainer = Callable[..., Container]


# exec goes to the container process's cgroup, and no further.

# With a domain controller for the children, the cgroup itself admits no process.
SHUT = """
for controller in memory io hugetlb; do
    grep -qw $controller cgroup.controllers && echo +$controller >cgroup.subtree_control && break
done
echo ready
exec sleep 1000
"""


@pytest.fixture
def unified(bundle: Bundle) -> Bundle:
    """A bundle with a writable v2 cgroup that has a domain controller."""
    mount = cgroup_hierarchies().get("")
    if mount is None:
        pytest.skip("this host has no v2 hierarchy")
    known = (mount / "cgroup.controllers").read_text().split()
    if "memory" not in known and "io" not in known:
        if "hugetlb" not in known:
            pytest.skip("this host's v2 hierarchy has no domain controller")
        # On a hybrid host a controller is enabled only if the config asks for it.
        bundle.linux["resources"]["unified"] = {"hugetlb.2MB.max": "0"}
    return options(bundle, *WRITABLE, type="cgroup2")


@pytest.fixture
def victim() -> Iterator[str]:
    """A cgroup outside the container's, as in /proc/PID/cgroup."""
    path = f"/{CGROUP_PARENT}/victim"
    directory = cgroup_hierarchies()[""] / path.lstrip("/")
    directory.mkdir(parents=True)
    yield path
    for pid in (directory / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: not (directory / "cgroup.procs").read_text())
    directory.rmdir()


@pytest.mark.parametrize("octal", ["034", "035", "036", "013", "014", "015", "302\\205", "342\\200\\250"])
def test_exec_ignores_a_line_forged_in_a_cgroup_name(
    container: MakeContainer, unified: Bundle, victim: str, octal: str
) -> None:
    """A line end for str.splitlines(), then a fake line of /proc/PID/cgroup."""
    script = rf"""
    cd /sys/fs/cgroup
    forged=$(printf 'x\{octal}0::')
    mkdir -p "$forged{victim}" && echo 1 >"$forged{victim}/cgroup.procs"
    """
    one = container(unified, sh=script + SHUT).start()
    one.wait_output("ready")
    assert "0::" in cgroups_of(one.pid)[""]
    ran = one.sh("cat /proc/self/cgroup; sleep 0.1")
    directory = cgroup_hierarchies()[""] / victim.lstrip("/")
    assert (directory / "cgroup.procs").read_text() == ""
    assert ran.ok().stdout.endswith(f"0::{victim}\n")


@pytest.mark.ocipy_only("runc follows its process anywhere")
def test_exec_follows_the_containers_process_below_its_cgroup_only(
    container: MakeContainer, unified: Bundle, victim: str
) -> None:
    """exec goes to no other cgroup, not even to one whose name begins with the container's."""
    one = container(unified, sh="cd /sys/fs/cgroup; mkdir init; echo 1 >init/cgroup.procs" + SHUT).start()
    one.wait_output("ready")
    top = cgroup_hierarchies()[""]
    own = unified.linux["cgroupsPath"]
    assert one.exec("cat", "/proc/self/cgroup").ok().stdout.endswith("0::/init\n")
    alike = top / (own + "x").lstrip("/")
    alike.mkdir()
    try:
        for place in (top / victim.lstrip("/"), alike):
            (place / "cgroup.procs").write_text(str(one.pid))
            one.exec("true").fails(f"cannot join the cgroup {top}{own}", status=255)
        (top / own.lstrip("/") / "init/cgroup.procs").write_text(str(one.pid))
        one.exec("true").ok()
    finally:
        (top / own.lstrip("/") / "init/cgroup.procs").write_text(str(one.pid))
        alike.rmdir()


# Cgroups in cgroups.


def nest(top: Path, name: str, depth: int, pid: int) -> None:
    """Do from outside, by file descriptors, what a process of the container can do in its hierarchy."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    procs = os.open("cgroup.procs", os.O_WRONLY, dir_fd=fd)
    os.write(procs, str(pid).encode())
    os.close(procs)
    os.close(fd)


@pytest.fixture(params=[("d", 1100), ("n" * 255, 30)], ids=["1100-deep", "long-names"])
def nested(request: pytest.FixtureRequest, container: MakeContainer, bundle: Bundle) -> Container:
    """A running container with processes in nested cgroups: the first in the lowest, another half-way down."""
    return make_nested(container, bundle, *request.param)


def make_nested(container: MakeContainer, bundle: Bundle, name: str, depth: int) -> Container:
    one = container(bundle, sh="sleep 1000 & echo ready; wait").start()
    one.wait_output("ready")
    (child,) = descendants(one.pid)
    hierarchies = cgroup_hierarchies()
    for place in {hierarchies.get("freezer", hierarchies.get("")), hierarchies.get("pids", hierarchies.get(""))}:
        assert place is not None
        nest(place / bundle.linux["cgroupsPath"].lstrip("/"), name, depth, one.pid)
        nest(place / bundle.linux["cgroupsPath"].lstrip("/"), "b", depth // 2, child)
    return one


def test_deeply_nested_cgroups_are_deleted(nested: Container) -> None:
    one = nested
    one.kill()
    one.reap()
    one.runtime.delete(one.id).ok()


def test_deeply_nested_cgroups_are_deleted_by_force(nested: Container) -> None:
    nested.runtime.delete(nested.id, force=True).ok()
    nested.reap()


def test_processes_in_nested_cgroups_are_found(nested: Container, runtime: Runtime) -> None:
    assert nested.pid in json.loads(runtime.call("ps", "--format", "json", nested.id).ok().stdout)
    assert len(runtime.call("ps", nested.id).ok().stdout.splitlines()) >= 3
    runtime.call("pause", nested.id).ok()
    assert nested.status == "paused"
    runtime.call("resume", nested.id).ok()
    runtime.call("update", "--resources=-", nested.id, stdin=b"{}").ok()
    nested.exec("true").ok()
    runtime.call("events", "--stats", nested.id).ok()
    runtime.call("kill", "--all", nested.id, "TERM").ok()
    runtime.call("kill", "--all", nested.id, "KILL").ok()
    nested.wait_dead()


@pytest.mark.ocipy_only("runc does not find them all")
def test_kill_all_reaches_nested_cgroups_without_a_pid_namespace(container: MakeContainer, bundle: Bundle) -> None:
    bundle.without_namespace("pid")
    one = make_nested(container, bundle, "d", 1100)
    (child,) = descendants(one.pid)
    one.runtime.call("kill", "--all", one.id, "KILL").ok()
    one.wait_dead()
    wait_until(lambda: process_state(child) in ("Z", ""))


# Processes that froze themselves (v1): SIGKILL takes effect only after a thaw.

FREEZE_SELF = """
cd /sys/fs/cgroup/freezer
mkdir -p own/inner && echo 1 >own/inner/cgroup.procs
echo ready
echo FROZEN >own/freezer.state
"""


@pytest.fixture
def frozen_itself(container: MakeContainer, bundle: Bundle) -> Container:
    one = container(options(bundle, *WRITABLE), sh=FREEZE_SELF).start()
    one.wait_output("ready")
    state = cgroup_hierarchies()["freezer"] / bundle.linux["cgroupsPath"].lstrip("/") / "own/inner/freezer.state"
    wait_until(lambda: state.read_text() == "FROZEN\n")
    assert one.status == "running"
    return one


@pytest.mark.needs_cgroup_v1
@pytest.mark.parametrize("words", [["KILL"], ["--all", "KILL"]])
def test_init_that_froze_itself_can_be_killed(frozen_itself: Container, words: list[str]) -> None:
    *flags, number = words
    frozen_itself.runtime.call("kill", *flags, frozen_itself.id, number).ok()
    frozen_itself.wait_dead()
    frozen_itself.end()


@pytest.mark.needs_cgroup_v1
def test_init_that_froze_itself_can_be_deleted(frozen_itself: Container) -> None:
    frozen_itself.runtime.delete(frozen_itself.id, force=True).ok()
    frozen_itself.reap()


@pytest.mark.needs_cgroup_v1
def test_a_cgroup_that_froze_itself_stays_frozen_after_a_pause(frozen_itself: Container) -> None:
    runtime, id = frozen_itself.runtime, frozen_itself.id
    runtime.call("pause", id).ok()
    assert frozen_itself.status == "paused"
    runtime.call("resume", id).ok()
    place = cgroup_hierarchies()["freezer"] / frozen_itself.bundle.linux["cgroupsPath"].lstrip("/")
    assert (place / "own/freezer.state").read_text() == "FROZEN\n"


@pytest.mark.needs_cgroup_v1
@pytest.mark.ocipy_only("runc ends its processes in another way")
def test_frozen_leftovers_in_nested_cgroups_are_deleted(container: MakeContainer, bundle: Bundle) -> None:
    """Without a separate pid namespace they survive init's end."""
    options(bundle, *WRITABLE).without_namespace("pid")
    script = """
    cd /sys/fs/cgroup/freezer
    mkdir -p own/inner; sleep 1000 & echo $! >own/inner/cgroup.procs; echo FROZEN >own/inner/freezer.state
    """
    one = container(bundle, sh=script).start()
    one.reap()
    one.runtime.delete(one.id).ok()


@pytest.mark.needs_cgroup_v1
@pytest.mark.ocipy_only("runc freezes it, dying processes and all")
def test_a_process_that_dies_frozen_does_not_prevent_a_pause(container: MakeContainer, bundle: Bundle) -> None:
    script = """
    cd /sys/fs/cgroup/freezer
    mkdir own; sleep 1000 & echo $! >own/cgroup.procs; echo FROZEN >own/freezer.state
    kill -9 $!; echo ready; exec sleep 1000
    """
    one = container(options(bundle, *WRITABLE), sh=script).start()
    one.wait_output("ready")
    one.runtime.call("pause", one.id, timeout=5).ok()
    one.runtime.call("resume", one.id).ok()

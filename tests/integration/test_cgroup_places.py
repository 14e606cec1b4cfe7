"""The place of the container's cgroup, the refused places, and leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import (
    Bundle,
    Container,
    Host,
    Result,
    Runtime,
    cgroup_dir,
    cgroup_dirs,
    cgroups_of,
    process_state,
)
from tests.harness.look import cgroup_hierarchies
from tests.integration.conftest import CGROUP_PARENT, TOKEN

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]
RunScript = Callable[..., Result]


def directories(name: str) -> list[Path]:
    return [path for path in cgroup_dirs(name) if path.name == name]


# Where it is


def test_without_a_path(container: MakeContainer, bundle: Bundle, new_id: NewId, host: Host) -> None:
    """Below our own cgroup on v1, next to it on v2, as runc does."""
    del bundle.linux["cgroupsPath"]
    one = container(bundle.args("sleep", "1000"))
    own = cgroups_of(os.getpid())
    for name, path in one.cgroups().items():
        if name and name.split(",")[0] not in cgroup_hierarchies():
            continue
        base = own[name] if host.cgroup != "v2" else str(Path(own[name]).parent)
        assert path == base.rstrip("/") + "/" + one.id, name


def test_a_path_of_more_components_than_calls_can_be_nested(
    runtime: Runtime, bundle: Bundle, new_id: NewId, host: Host
) -> None:
    bundle.linux["cgroupsPath"] = CGROUP_PARENT + "/" + TOKEN + "-deep" + "/a" * 1000
    runtime.run(bundle.args("true"), new_id(), timeout=120).ok()
    assert not directories(TOKEN + "-deep")


@pytest.mark.parametrize("path", ["relative/{id}", "../../../{id}", "./a/../{id}"])
def test_relative_path_stays_below(
    container: MakeContainer, bundle: Bundle, new_id: NewId, host: Host, path: str
) -> None:
    id = new_id()
    bundle.linux["cgroupsPath"] = path.format(id=f"{TOKEN}-{id}")
    one = container(bundle.args("sleep", "1000"))
    own = cgroups_of(os.getpid())
    for name, place in one.cgroups().items():
        if name and name.split(",")[0] not in cgroup_hierarchies():
            continue
        base = own[name] if host.cgroup != "v2" else str(Path(own[name]).parent)
        assert place.startswith(base.rstrip("/") + "/") and place.endswith(f"{TOKEN}-{id}"), name
    one.end()
    remove_parents()


def test_absolute_path_cannot_escape(container: MakeContainer, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    bundle.linux["cgroupsPath"] = f"/../../{CGROUP_PARENT}/../{TOKEN}-{id}"
    one = container(bundle.args("sleep", "1000"))
    assert one.cgroups()["pids" if "pids" in one.cgroups() else ""] == f"/{TOKEN}-{id}"


@pytest.mark.parametrize("path", ["/", "/a/.."])
def test_the_root_cgroup_is_refused(runtime: Runtime, bundle: Bundle, new_id: NewId, path: str) -> None:
    bundle.linux["cgroupsPath"] = path
    result = runtime.create(bundle.args("true"), new_id()).fails()
    if runtime.is_ocipy:
        assert "/linux/cgroupsPath" in result.stderr
    assert runtime.ids() == []


def remove_parents() -> None:
    """runc leaves the parents that it created, except the one that the harness expects."""
    for hierarchy in set(cgroup_hierarchies().values()):
        for name in ("relative", "a"):
            for own in set(cgroups_of(os.getpid()).values()):
                try:
                    (hierarchy / own.lstrip("/") / name).rmdir()
                except OSError:
                    continue


# Refusals


@pytest.mark.differs_from_runc("older ones only warn", always=False)
def test_cgroup_of_another_container_is_refused(runtime: Runtime, container: MakeContainer, bundle: Bundle) -> None:
    one = container(bundle.args("sleep", "1000"))
    result = runtime.create(bundle, one.id + "-second")
    if result.status == 0:
        runtime.delete(one.id + "-second", force=True)
    result.fails("container's cgroup is not empty")
    assert runtime.ids() == [one.id]
    assert process_state(one.pid) not in ("Z", "X", ""), "the first container must survive"
    assert cgroup_dir(one.pid, "pids").is_dir()


def freeze(place: Path, frozen: bool) -> None:
    if (place / "freezer.state").exists():
        (place / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
    else:
        (place / "cgroup.freeze").write_text("1" if frozen else "0")
    time.sleep(0.05)


@pytest.mark.ocipy_only("runc hangs below a frozen parent")
@pytest.mark.parametrize("which", ["own", "parent"])
def test_frozen_cgroup_is_refused(runtime: Runtime, bundle: Bundle, new_id: NewId, which: str) -> None:
    hierarchies = cgroup_hierarchies()
    top = hierarchies.get("freezer", hierarchies.get("", Path("/")))
    parent = top / f"{TOKEN}-frozen"
    own = parent / "own"
    own.mkdir(parents=True)
    frozen = own if which == "own" else parent
    freeze(frozen, True)
    try:
        bundle.linux["cgroupsPath"] = f"/{TOKEN}-frozen/own"
        runtime.create(bundle.args("true"), new_id(), timeout=20).fails("container's cgroup unexpectedly frozen")
        assert own.is_dir(), "it existed before"
        assert runtime.ids() == []
    finally:
        freeze(frozen, False)
        own.rmdir()
        parent.rmdir()


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"memory": {"limit": 2**62, "swap": 2**61}}, "/linux/resources/memory/swap"),
        ({"cpu": {"cpus": "4000"}}, "/linux/resources/cpu/cpus"),
        ({"cpu": {"period": 1}}, "/linux/resources/cpu/"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 1, "rate": 1}]}}, "throttleReadBpsDevice/0"),
    ],
)
def test_limit_that_the_kernel_refuses_leaves_nothing(
    runtime: Runtime, bundle: Bundle, new_id: NewId, resources: dict[str, Any], pointer: str
) -> None:
    bundle.linux["resources"].update(resources)
    id = new_id()
    result = runtime.create(bundle.args("true"), id).fails()
    if runtime.is_ocipy:
        assert pointer in result.stderr
        for word in ("o such file", "not found", "ermission denied"):
            assert word not in result.stderr, "engines read these words as something else"
    assert runtime.ids() == []
    assert directories(Path(bundle.linux["cgroupsPath"]).name) == []


# Leftovers


@pytest.mark.differs_from_runc("leaves the parents that it made")
def test_delete_removes_what_create_made(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    name = f"{TOKEN}-{new_id()}"
    bundle.linux["cgroupsPath"] = f"/{name}/a/b"
    id = new_id()
    runtime.run(bundle.args("true"), id).ok()
    left = cgroup_dirs(name)
    for path in reversed(left):
        path.rmdir()
    assert left == []


def test_delete_removes_nothing_else(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    name = f"{TOKEN}-{new_id()}"
    made = []
    for hierarchy in set(cgroup_hierarchies().values()):
        made += [hierarchy / name, hierarchy / name / "neighbour"]
    for path in made:
        path.mkdir()
    try:
        bundle.linux["cgroupsPath"] = f"/{name}/own"
        runtime.run(bundle.args("true"), new_id()).ok()
        assert sorted(cgroup_dirs(name)) == sorted(made)
    finally:
        for path in reversed(made):
            path.rmdir()


@pytest.mark.differs_from_runc("removes a cgroup that it did not make")
def test_delete_leaves_a_cgroup_that_was_there(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    name = Path(bundle.linux["cgroupsPath"]).name
    hierarchies = cgroup_hierarchies()
    place = hierarchies.get("pids", hierarchies.get("", Path("/"))) / bundle.linux["cgroupsPath"].lstrip("/")
    place.mkdir(parents=True)
    runtime.run(bundle.args("true"), new_id()).ok()
    left = directories(name)
    for path in left:
        path.rmdir()
    assert left == [place]


def test_delete_removes_cgroups_below(container: MakeContainer, bundle: Bundle) -> None:
    """A container with a writable cgroup mount creates cgroups."""
    one = container(bundle.args("sleep", "1000")).start()
    place = cgroup_dir(one.pid, "pids")
    (place / "sub/deep").mkdir(parents=True)
    one.end()
    assert not place.exists()


def leave_a_process(container: MakeContainer, bundle: Bundle) -> tuple[Container, int]:
    """A container without a pid namespace, whose init exits and leaves an orphan."""
    bundle.without_namespace("pid")
    one = container(bundle, sh="sleep 1000 & echo left $!; sleep 0.1")
    one.start()
    pid = int(one.wait_output("left").split()[1])
    one.wait_dead()
    assert process_state(pid) not in ("Z", "X", "")
    return one, pid


def test_delete_kills_leftover_processes(container: MakeContainer, bundle: Bundle) -> None:
    one, pid = leave_a_process(container, bundle)
    one.runtime.delete(one.id).ok()
    assert process_state(pid) in ("Z", "X", "")


def test_kill_all_reaches_leftover_processes(container: MakeContainer, bundle: Bundle) -> None:
    """As containerd's shim does after the exit of an init that shares a pid namespace."""
    one, pid = leave_a_process(container, bundle)
    one.runtime.call("kill", "--all", one.id, "9").ok()
    deadline = time.monotonic() + 5
    while process_state(pid) not in ("Z", "X", "") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process_state(pid) in ("Z", "X", "")


def test_delete_force_of_a_frozen_container(container: MakeContainer, bundle: Bundle) -> None:
    one = container(bundle.args("sleep", "1000")).start()
    freeze(cgroup_dir(one.pid, "freezer"), True)
    assert one.status == "paused"
    one.runtime.delete(one.id, force=True).ok()


def test_kill_of_a_frozen_container(container: MakeContainer, bundle: Bundle) -> None:
    one = container(bundle.args("sleep", "1000")).start()
    freeze(cgroup_dir(one.pid, "freezer"), True)
    one.kill(signal.SIGKILL).wait_dead()


def test_containers_that_share_a_new_parent(runtime: Runtime, make_bundle: MakeBundle, new_id: NewId) -> None:
    """Each finds the parent missing, present, or just being removed by another one's delete."""
    bundles = [make_bundle() for _ in range(4)]
    for number, bundle in enumerate(bundles):
        bundle.linux["cgroupsPath"] = f"/{CGROUP_PARENT}/{TOKEN}-shared/{number}"
        bundle.args("true").write()
    for _ in range(3):
        running = [
            subprocess.Popen(
                [runtime.path, "--root", runtime.root, "run", "--bundle", bundle.path, new_id()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for bundle in bundles
        ]
        for process in running:
            _, stderr = process.communicate(timeout=60)
            assert process.returncode == 0, stderr
    for path in reversed(cgroup_dirs(f"{TOKEN}-shared")):
        path.rmdir()


def test_no_descriptor_of_a_cgroup_enters_the_container(container: MakeContainer, bundle: Bundle) -> None:
    """CVE-2024-21626 was a file descriptor of a cgroup directory."""
    one = container(bundle.args("sleep", "1000"))
    for state in ("created", "running"):
        links = [os.readlink(path) for path in one.proc("fd").iterdir()]
        assert not [link for link in links if link.startswith("/sys/") or link.endswith("/tasks")], state
        if state == "created":
            one.start()


# Leftovers of a container with an unreadable state


def spoil(runtime: Runtime, one: Container) -> None:
    (runtime.root / one.id / "state.json").write_text("{")


@pytest.mark.parametrize("relative", [False, True])
def test_delete_by_force_removes_the_empty_cgroup_of_a_container_whose_state_cannot_be_read(
    runtime: Runtime, container: MakeContainer, bundle: Bundle, new_id: NewId, relative: bool
) -> None:
    id = new_id()
    bundle.linux["cgroupsPath"] = f"{TOKEN}-{id}" if relative else f"{CGROUP_PARENT}/{TOKEN}-{id}"
    one = container(bundle.args("sleep", "1000"))
    assert directories(f"{TOKEN}-{id}")
    spoil(runtime, one)
    runtime.delete(one.id, force=True).ok()
    one.wait_dead(5)
    one.reap()
    assert not directories(f"{TOKEN}-{id}")
    assert not (runtime.root / one.id).exists()


def test_delete_by_force_names_a_cgroup_whose_processes_it_leaves_alone(
    runtime: Runtime, container: MakeContainer, bundle: Bundle, new_id: NewId
) -> None:
    """By now they may belong to another container: they must not be killed."""
    name = f"{TOKEN}-{new_id()}"
    bundle.linux["cgroupsPath"] = f"{CGROUP_PARENT}/{name}"
    one = container(bundle.args("sleep", "1000")).start()
    places = directories(name)
    assert places
    spoil(runtime, one)
    result = runtime.delete(one.id, force=True).ok()
    assert process_state(one.pid) not in ("Z", "")
    for path in places:
        assert f"the cgroup {path} remains: 1 process(es)" in result.stderr
    os.kill(one.pid, signal.SIGKILL)
    one.reap()
    for path in places:
        path.rmdir()


def test_delete_by_force_says_so_if_it_cannot_find_the_cgroup(
    runtime: Runtime, container: MakeContainer, bundle: Bundle, new_id: NewId
) -> None:
    name = f"{TOKEN}-{new_id()}"
    bundle.linux["cgroupsPath"] = f"{CGROUP_PARENT}/{name}"
    one = container(bundle.args("sleep", "1000"))
    places = directories(name)
    assert places
    spoil(runtime, one)
    (runtime.root / one.id / "config.json").write_text("[")
    assert "a cgroup of the container may remain" in runtime.delete(one.id, force=True).ok().stderr
    one.wait_dead(5)
    one.reap()
    for path in places:
        path.rmdir()

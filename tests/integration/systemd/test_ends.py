"""How units end: with the container, by systemd, or because create fails. These tests need systemd; tests/systemd/run
starts one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime
from tests.harness.host import scaled, wait_until
from tests.harness.systemd import V2, is_gone, shown, systemctl, unit_of

pytestmark = pytest.mark.needs_systemd


def test_delete_removes_a_unit_that_systemd_has_ended(
    container: Callable[..., Container], bundle: Bundle, runtime: Runtime
) -> None:
    """As in runc's tests: a scope that exceeds its run time fails, and stays until it is reset."""
    bundle.config["annotations"] = {
        "org.systemd.property.RuntimeMaxSec": "1",
        "org.systemd.property.TimeoutStopSec": "1",
    }
    one = container(bundle).start()
    wait_until(lambda: runtime.state(one.id)["status"] == "stopped", timeout=20)
    one.reap()
    assert not is_gone(unit_of(one))
    runtime.delete(one.id).ok()
    assert is_gone(unit_of(one))


def test_leftover_processes_end_with_the_unit(
    container: Callable[..., Container], bundle: Bundle, runtime: Runtime
) -> None:
    """Without a pid namespace a child outlives the container's process, and this one ignores SIGTERM."""
    bundle.without_namespace("pid")
    began = time.monotonic()
    one = container(bundle, sh="trap '' TERM; (trap '' TERM; sleep 1000) & exec sleep 1000").start()
    place = Path("/sys/fs/cgroup", "" if V2 else "systemd", "system.slice", unit_of(one), "cgroup.procs")
    wait_until(lambda: len(place.read_text().split()) > 1)
    runtime.call("kill", one.id, "KILL").ok()
    one.reap()
    runtime.delete(one.id).ok()
    assert is_gone(unit_of(one))
    assert time.monotonic() - began < scaled(20), "not after TimeoutStopSec, which is 90 s"


def test_someone_elses_unit_of_the_same_name(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    id = new_id()
    unit = f"ocipy-{id}.scope"
    sleeper = subprocess.Popen(["systemd-run", "--scope", "-q", f"--unit={unit}", "sleep", "1000"])
    try:
        wait_until(lambda: shown(unit, "ActiveState") == {"ActiveState": "active"})
        result = runtime.create(bundle, id)
        result.fails(f"a unit {unit} already exists")
        assert id not in runtime.ids()
        assert shown(unit, "ActiveState") == {"ActiveState": "active"}, "we must not stop it"
    finally:
        systemctl("stop", unit)
        sleeper.wait()


def test_delete_spares_a_later_unit_of_the_same_name(
    make_runtime: Callable[[str], Runtime], runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]
) -> None:
    """systemd forgets a scope that has ended by itself. Then its name and cgroup may belong to another container."""
    id = new_id()
    other = make_runtime("other")
    assert runtime.run(bundle.args("true"), id, "--keep").status == 0
    wait_until(lambda: is_gone(f"ocipy-{id}.scope"))
    bundle.args("sleep", "1000").write()
    other.call("run", "--detach", "--bundle", bundle.path, id, globals=["--systemd-cgroup"]).ok()
    try:
        runtime.delete(id).ok()
        assert other.state(id)["status"] == "running"
        assert shown(f"ocipy-{id}.scope", "ActiveState") == {"ActiveState": "active"}
    finally:
        other.delete(id, force=True).ok()


def test_a_failed_unit_of_the_same_name_is_replaced(
    container: Callable[..., Container], bundle: Bundle, new_id: Callable[[], str]
) -> None:
    id = new_id()
    unit = f"ocipy-{id}.scope"
    run = ["systemd-run", "--scope", "-q", f"--unit={unit}", "-p", "RuntimeMaxSec=1", "sleep", "1000"]
    subprocess.run(run, check=False, timeout=scaled(30))
    wait_until(lambda: shown(unit, "ActiveState") == {"ActiveState": "failed"})
    container(bundle, id=id).start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("moment", [0, 1, 2, pytest.param(3, marks=pytest.mark.smoke), 4, 5])
def test_a_create_that_is_interrupted(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], moment: int, number: int
) -> None:
    id = new_id()
    began = time.monotonic()
    runtime.create(bundle, id).ok()
    whole = time.monotonic() - began
    runtime.delete(id, force=True).ok()
    running = runtime.begin("create", "--bundle", bundle.path, id)
    time.sleep(whole * (moment + 1) / 7)
    os.kill(running.process.pid, number)
    status = running.process.wait()
    if number == signal.SIGTERM and status != 0:
        assert id not in runtime.ids(), "it has undone what it did"
        assert is_gone(f"ocipy-{id}.scope")
    runtime.delete(id, force=True).ok()
    assert id not in runtime.ids()
    assert is_gone(f"ocipy-{id}.scope")


def test_a_create_that_fails_later(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    id = new_id()
    bundle.args("/no/such/command")
    runtime.create(bundle, id).fails("no such file or directory")
    assert is_gone(f"ocipy-{id}.scope")


@contextmanager
def without(*sockets: str) -> Iterator[None]:
    """Move systemd's sockets away meanwhile."""
    paths = [Path(socket) for socket in sockets]
    for path in paths:
        path.rename(f"{path}.moved")
    try:
        yield
    finally:
        for path in paths:
            Path(f"{path}.moved").rename(path)


MESSAGE_BUS = "/run/dbus/system_bus_socket"


OWN_SOCKET = "/run/systemd/private"


def test_delete_if_systemd_does_not_answer(
    container: Callable[..., Container], bundle: Bundle, runtime: Runtime
) -> None:
    """An empty unit disappears by itself; the runtime removes the leftovers."""
    one = container(bundle).start()
    with without(MESSAGE_BUS, OWN_SOCKET):
        runtime.delete(one.id, force=True).ok()
    wait_until(lambda: is_gone(unit_of(one)))


@pytest.mark.parametrize("missing", [MESSAGE_BUS, OWN_SOCKET])
def test_either_socket_of_systemd_is_enough(container: Callable[..., Container], bundle: Bundle, missing: str) -> None:
    with without(missing):
        one = container(bundle)
    assert shown(unit_of(one), "ActiveState") == {"ActiveState": "active"}


@pytest.mark.parametrize("missing", [MESSAGE_BUS, OWN_SOCKET])
def test_a_unit_whose_socket_has_gone(
    container: Callable[..., Container], bundle: Bundle, runtime: Runtime, missing: str
) -> None:
    other = OWN_SOCKET if missing == MESSAGE_BUS else MESSAGE_BUS
    with without(other):
        one = container(bundle).start()
    with without(missing):
        assert "without systemd" not in runtime.delete(one.id, force=True).ok().stderr
    assert is_gone(unit_of(one))

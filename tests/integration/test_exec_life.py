"""exec among the other commands: paused containers, cgroups, CPUs, signals, and early ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import (
    Bundle,
    Container,
    Host,
    cgroups_of,
    descendants,
    proc_status,
    process_state,
    scaled,
    wait_until,
)
from tests.harness.look import cgroup_hierarchies
from tests.integration.test_seccomp import MKDIR, Agent, allow_all_but, rule

MakeContainer = Callable[..., Container]
Detached = Callable[..., int]
Check = Callable[[], None]
FAILED = 255


# Paused.


def test_paused_container(one: Container) -> None:
    one.runtime.call("pause", one.id).ok()
    words = "cannot exec in a paused container (use --ignore-paused to override)"
    one.exec("true").fails(words, status=FAILED)
    one.exec("true", flags=["--detach"]).fails(words, status=FAILED)
    one.runtime.call("resume", one.id).ok()
    one.exec("true").ok()


def test_paused_container_with_ignore_paused(one: Container) -> None:
    """It is frozen and thawed with the container."""
    one.runtime.call("pause", one.id).ok()
    running = one.runtime.begin("exec", "--ignore-paused", one.id, "echo", "thawed")
    wait_until(lambda: bool(descendants(running.pid)))
    time.sleep(0.2)
    assert running.process.poll() is None
    one.runtime.call("resume", one.id).ok()
    assert running.wait().ok().stdout == "thawed\n"


@pytest.mark.ocipy_only("runc hangs until the container is resumed")
def test_interrupted_while_the_container_is_paused(one: Container, host: Host) -> None:
    """The process that it leaves has been killed, and dies once it is thawed."""
    one.runtime.call("pause", one.id).ok()
    running = one.runtime.begin("exec", "--ignore-paused", one.id, "sleep", "1000")
    # On v2 the joiner is cloned into the frozen cgroup, and stays there. On v1, only after it has ended: then its child
    # is alone in the container's pid namespace.
    wait_until(lambda: descendants(running.pid) if host.cgroup == "v2" else inside(one, descendants(running.pid)))
    (pid,) = descendants(running.pid)
    running.signal(signal.SIGTERM)
    running.wait(10).fails("interrupted by SIGTERM", status=143)
    one.runtime.call("resume", one.id).ok()
    wait_until(lambda: process_state(pid) in ("Z", ""))
    if process_state(pid):
        os.waitpid(pid, 0)


def inside(one: Container, pids: set[int]) -> bool:
    """There is exactly one process, and it is in the container's pid namespace."""
    try:
        return [os.readlink(f"/proc/{pid}/ns/pid") for pid in pids] == [os.readlink(one.proc("ns/pid"))]
    except OSError:  # one has just ended
        return False


# The cgroup.


def below(one: Container, name: str) -> list[Path]:
    """Create cgroups of that name below the container's, in each hierarchy."""
    found = []
    for controllers, path in cgroups_of(one.pid).items():
        if path != one.bundle.linux["cgroupsPath"]:
            continue
        directory = cgroup_hierarchies()[controllers.split(",")[0]] / path.lstrip("/") / name
        if directory not in found:
            directory.mkdir()
            found.append(directory)
    for directory in found:
        if directory.parts[4] == "cpuset":
            for file in ("cpuset.cpus", "cpuset.mems"):
                (directory / file).write_text((directory.parent / file).read_text())
    assert found
    return found


def test_cgroup_below_the_containers(one: Container, detached: Detached) -> None:
    directories = below(one, "inner")
    pid = detached(one, "sleep", "1000", flags=("--cgroup", "inner"))
    ours, theirs = cgroups_of(pid), cgroups_of(one.pid)
    assert one.bundle.linux["cgroupsPath"] in theirs.values()
    for name, path in theirs.items():
        assert ours[name] == path + ("/inner" if path == one.bundle.linux["cgroupsPath"] else "")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process_state(pid) == "Z")
    for directory in directories:
        wait_until(lambda: not (directory / "cgroup.procs").read_text())  # noqa: B023
        directory.rmdir()


@pytest.mark.needs_cgroup_v1
def test_cgroup_of_some_controllers(one: Container, detached: Detached) -> None:
    directories = below(one, "inner")
    pid = detached(one, "sleep", "1000", flags=("--cgroup", "memory,pids:inner", "--cgroup", "cpuset:/inner"))
    ours, theirs = cgroups_of(pid), cgroups_of(one.pid)
    assert {name for name, path in ours.items() if path != theirs[name]} == {"memory", "pids", "cpuset"}
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process_state(pid) == "Z")
    for directory in directories:
        wait_until(lambda: not (directory / "cgroup.procs").read_text())  # noqa: B023
        directory.rmdir()


@pytest.mark.needs_cgroup_v2
def test_process_that_has_moved_on(one: Container, detached: Detached) -> None:
    """No process may enter a cgroup with controllers for its children: exec follows the first process."""
    (mount,) = cgroup_hierarchies().values()
    own = mount / one.bundle.linux["cgroupsPath"].lstrip("/")
    (own / "init").mkdir()
    (own / "init/cgroup.procs").write_text(str(one.pid))
    # Any controller without thread support.
    known = set((own / "cgroup.controllers").read_text().split()) & {"memory", "io", "hugetlb"}
    (own / "cgroup.subtree_control").write_text("+" + known.pop())
    pid = detached(one, "sleep", "1000")
    assert cgroups_of(pid)[""] == cgroups_of(one.pid)[""] == one.bundle.linux["cgroupsPath"] + "/init"
    # exec does not replace a requested cgroup.
    one.exec("true", flags=["--cgroup", "/"]).fails(status=FAILED)


@pytest.mark.parametrize("path", ["..", "../other", "x/../../other", "/..", "/../other"])
def test_cgroup_outside_of_the_containers(one: Container, path: str) -> None:
    one.exec("true", flags=["--cgroup", path]).fails("sub cgroup path", status=FAILED)


@pytest.mark.parametrize(
    "given",
    [["no-such-cgroup"], ["no-such-controller:x"], [":x"], ["x", "y"], ["memory:x", "memory:y"], ["memory:x", "y"]],
)
def test_a_cgroup_that_does_not_exist(one: Container, given: list[str]) -> None:
    flags = [word for entry in given for word in ("--cgroup", entry)]
    result = one.exec("true", flags=flags).fails(status=FAILED)
    if one.runtime.is_ocipy:
        # An engine would interpret it as a missing command.
        assert "no such file" not in result.stderr.lower()


def test_limits_are_enforced(container: MakeContainer, bundle: Bundle) -> None:
    bundle.linux["resources"]["pids"] = {"limit": 6}
    one = container(bundle.args("sleep", "1000")).start()
    result = one.sh("for n in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait")
    assert "fork" in result.stderr


@pytest.mark.ocipy_only("runc cannot always start the threads that it needs")
@pytest.mark.parametrize("limit", [1, pytest.param(2, marks=pytest.mark.smoke)])
def test_as_many_processes_as_the_limit_permits(container: MakeContainer, bundle: Bundle, limit: int) -> None:
    """exec still works, for debugging, even though entering takes two processes for a moment."""
    bundle.linux["resources"]["pids"] = {"limit": limit}
    one = container(bundle.args("sleep", "1000")).start()
    one.exec("true").ok()


# CPUs.


@pytest.fixture
def two_cpus(host: Host) -> set[int]:
    """The CPUs of this machine, at least two."""
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    return cpus


def allowed(pid: int) -> set[int]:
    return os.sched_getaffinity(pid)


def test_callers_cpus_are_not_inherited(one: Container, detached: Detached, two_cpus: set[int]) -> None:
    pid = detached(one, "sleep", "1000", prefix=["taskset", "-c", str(min(two_cpus))])
    assert allowed(pid) == two_cpus


@pytest.mark.parametrize("members", [("final",), ("initial",), ("initial", "final")])
def test_affinity(
    container: MakeContainer,
    bundle: Bundle,
    detached: Detached,
    host: Host,
    two_cpus: set[int],
    members: tuple[str, ...],
) -> None:
    """Only for exec; the container's process has all CPUs. Without `final` the kernel decides when the process enters
    the cgroup: before Linux 6.2 it gives all of the cgroup's CPUs, since then it keeps the requested ones."""
    first, last = min(two_cpus), max(two_cpus)
    values = {"initial": str(first), "final": str(last)}
    bundle.process["execCPUAffinity"] = {name: values[name] for name in members}
    one = container(bundle.args("sleep", "1000")).start()
    assert allowed(one.pid) == two_cpus
    pid = detached(one, "sleep", "1000")
    initial = {first} if host.kernel >= (6, 2) else two_cpus
    assert allowed(pid) == ({last} if "final" in members else initial)


@pytest.mark.parametrize("member", ["initial", "final"])
def test_affinity_to_a_missing_cpu(container: MakeContainer, bundle: Bundle, member: str) -> None:
    bundle.process["execCPUAffinity"] = {member: "1000"}
    one = container(bundle.args("sleep", "1000")).start()
    one.exec("true").fails(status=FAILED)


# Signals.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_are_forwarded(one: Container, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    running = one.runtime.begin("exec", one.id, "sh", "-c", script)
    wait_until(lambda: running.stdout_path.read_text() == "ready\n")
    running.signal(number)
    result = running.wait()
    assert result.status == 9, repr(result)
    assert result.stdout == f"ready\ngot {name}\n"


def test_no_process_of_the_runtime_remains(one: Container, detached: Detached) -> None:
    """Neither an intermediate process nor a zombie."""
    before = descendants()
    pid = detached(one, "sleep", "1000")
    assert descendants() - before == {pid}
    one.exec("true").ok()
    one.exec("no-such-command").fails(status=None)
    assert descendants() - before == {pid}


# Ends.


def test_container_ends_meanwhile(one: Container) -> None:
    """The end of its first process ends its pid namespace."""
    running = one.runtime.begin("exec", one.id, "sh", "-c", "echo ready; exec sleep 1000")
    wait_until(lambda: running.stdout_path.read_text() == "ready\n")
    os.kill(one.pid, signal.SIGKILL)
    assert running.wait().status == 128 + signal.SIGKILL
    one.reap()


@pytest.mark.ocipy_only("runc leaves processes behind")
def test_container_ends_while_exec_begins(container: MakeContainer, work: Path) -> None:
    """Whichever wins, there is one clear line, no hang, and no process left behind."""
    before = descendants()
    for number in range(10):
        one = container(args=["sleep", "1000"]).start()
        calls = [one.runtime.begin("exec", one.id, "sleep", "1000") for _ in range(3)]
        time.sleep(scaled(0.002) * number)
        os.kill(one.pid, signal.SIGKILL)
        one.reap()
        for call in calls:
            result = call.wait(20)
            assert result.status in (FAILED, 128 + signal.SIGKILL), repr(result)
            if result.status == FAILED:
                result.fails(status=FAILED)
        one.runtime.delete(one.id).ok()
    assert descendants() <= before


def test_pid_file_that_cannot_be_written(one: Container, work: Path) -> None:
    """The process is killed, since no caller would know about it."""
    before = descendants()
    one.exec("sleep", "1000", flags=["--detach", "--pid-file", work / "no/such/directory/pid"]).fails(status=FAILED)
    assert descendants() == before


def test_many_in_the_background_end_with_the_container(one: Container, detached: Detached) -> None:
    pids = [detached(one, "sleep", "1000") for _ in range(5)]
    os.kill(one.pid, signal.SIGKILL)
    for pid in pids:
        wait_until(lambda: process_state(pid) == "Z")  # noqa: B023


@pytest.mark.ocipy_only("runc says only that it has given up")
def test_the_process_that_delays_the_end_is_named(one: Container, work: Path) -> None:
    """Its caller does not reap a process. Until then the first process of the pid namespace cannot exit."""
    one.exec("sleep", "1000", flags=["--detach", "--pid-file", work / "pid"]).ok()
    pid = int((work / "pid").read_text())
    result = one.runtime.delete(one.id, force=True, timeout=60).fails(
        f"the container's process {one.pid} does not die: it waits for process {pid} (sleep, a zombie), "
        f"which its parent {os.getpid()} (", ") does not reap"
    )  # fmt: skip
    assert result.status == 1
    os.waitpid(pid, 0)
    one.runtime.delete(one.id, force=True).ok()


# A seccomp filter with an agent.


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_notify(
    container: MakeContainer, bundle: Bundle, work: Path, detached: Detached, no_new_privileges: bool
) -> None:
    """config-linux.md: the agent gets the container's state and the process's pid."""
    bundle.process["noNewPrivileges"] = no_new_privileges
    allow_all_but(bundle, rule(MKDIR, "NOTIFY"), listenerPath=str(work / "agent"), listenerMetadata="opaque")
    first = Agent(work / "agent")
    one = container(bundle.args("sleep", "1000")).start()
    first.end()
    (work / "agent").unlink()
    second = Agent(work / "agent")
    try:
        pid = detached(one, "sh", "-c", "mkdir /dev/shm/a; exec sleep 1000")
        wait_until(lambda: bool(second.message), "the agent's message")
        assert second.message["pid"] == pid
        assert second.message["metadata"] == "opaque"
        assert second.message["state"]["status"] == "running"
        assert second.message["state"]["pid"] == one.pid
        wait_until(lambda: second.calls == 1)
        assert proc_status(pid)["Seccomp"] == "2"
    finally:
        second.end()

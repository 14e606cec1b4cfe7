"""The leftovers of killed sessions are removed; those of living sessions, and everything else, stay."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import wait_until
from tests.harness.cgroups import cgroup_dirs, cgroup_tops, remove_cgroups
from tests.harness.look import cgroup_dir, cgroups_of, namespace, process_state
from tests.harness.sessions import INITIAL, cgroup_name, remove_those_of_dead_sessions

pytestmark = pytest.mark.ocipy_only("about the harness")
TOKEN = f"t{os.getpid()}5e55"


@pytest.fixture
def make() -> Iterator[Callable[[str], Path]]:
    """Makes a cgroup of this name with a child, in one hierarchy."""
    names = []

    def one(name: str) -> Path:
        names.append(name)
        top = next(top for top in cgroup_tops() if top.name in ("pids", "unified", "cgroup"))
        (top / name / "below").mkdir(parents=True)
        return top / name

    yield one
    for name in names:
        assert remove_cgroups(name) == []


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a process that waits."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*prefix: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([*prefix, "sleep", "1000"]))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_cgroups_of_a_killed_session_are_removed(
    make: Callable[[str], Path], process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    session, left = process(), process()
    place = make(cgroup_name(TOKEN, session.pid))
    (place / "below/cgroup.procs").write_text(str(left.pid))
    assert place.name not in remove_those_of_dead_sessions()
    assert (place / "below").is_dir()
    session.send_signal(signal.SIGKILL)
    wait_until(lambda: process_state(session.pid) == "Z")
    assert place.name in remove_those_of_dead_sessions()
    assert cgroup_dirs(place.name) == []
    assert left.wait(10) == -signal.SIGKILL


def test_a_dead_session_s_cgroup_below_our_own_cgroup_is_removed(
    process: Callable[..., subprocess.Popen[bytes]],
) -> None:
    own = [controllers for controllers, path in cgroups_of("self").items() if path != "/"]
    if not own:
        pytest.skip("this process is at the top of each hierarchy")
    token, pid, start, namespace = cgroup_name(TOKEN, process().pid).split(".")
    place = cgroup_dir(os.getpid(), own[0].split(",")[0]) / ".".join([token, pid, str(int(start) - 1), namespace])
    place.mkdir()
    assert place.name in remove_those_of_dead_sessions()
    assert not place.exists()


def test_a_reused_pid_is_not_the_session(
    make: Callable[[str], Path], process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    token, pid, start, namespace = cgroup_name(TOKEN, process().pid).split(".")
    place = make(".".join([token, pid, str(int(start) - 1), namespace]))
    assert place.name in remove_those_of_dead_sessions()
    assert not place.exists()


def test_a_session_in_another_pid_namespace_lives_as_long_as_its_process(
    make: Callable[[str], Path], process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    unshare = process("unshare", "--pid", "--fork", "--kill-child")
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    wait_until(lambda: children.read_text().split())
    name = cgroup_name(TOKEN, int(children.read_text()))
    assert name.split(".")[1] == "1"
    place = make(name)
    assert place.name not in remove_those_of_dead_sessions()
    unshare.kill()
    unshare.wait()
    wait_until(lambda: not children.exists())
    gone = os.readlink("/proc/self/ns/pid") == f"pid:[{INITIAL}]"  # elsewhere we cannot know
    wait_until(lambda: (place.name in remove_those_of_dead_sessions()) == gone)


@pytest.mark.parametrize(
    "name",
    [f"ocipy-test-{TOKEN}", "ocipy-test-of-nobody.1.1.1", f"x-ocipy-test-{TOKEN}.1.1.1", f"ocipy-test-{TOKEN}.1.1"],
)
def test_cgroups_that_do_not_name_their_session_stay(make: Callable[[str], Path], name: str) -> None:
    place = make(name)
    remove_those_of_dead_sessions()
    assert (place / "below").is_dir()


def test_a_process_whose_namespace_cannot_be_read_may_be_the_session(
    make: Callable[[str], Path], process: Callable[..., subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root without CAP_SYS_PTRACE may not read it."""
    unshare = process("unshare", "--pid", "--fork", "--kill-child")
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    wait_until(lambda: children.read_text().split())
    child = children.read_text().strip()
    place = make(cgroup_name(TOKEN, child))

    def refuse(pid: int | str, kind: str) -> str:
        if pid == child:
            raise PermissionError
        return namespace(pid, kind)

    monkeypatch.setattr("tests.harness.sessions.namespace", refuse)
    assert place.name not in remove_those_of_dead_sessions()
    assert (place / "below").is_dir()

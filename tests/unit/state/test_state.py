"""A container's records: ids, locks, the state, and the derived status."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.state import directory
from ocipy.state import state as states
from ocipy.state.state import State


@pytest.mark.parametrize("name", ["a", "web-1", "A_b+c.d", "0", "..a", ".hidden", "a" * 255])
def test_valid_ids(name: str) -> None:
    directory.check_id(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a\n", "ä", "@a", "a" * 256])
def test_invalid_ids(name: str) -> None:
    with pytest.raises(Error, match="invalid container ID format"):
        directory.check_id(name)


def made(root: Path, name: str = "web") -> tuple[State, int]:
    lock = directory.make_directory(str(root), name)
    state = State(f"{root}/{name}", name, "/bundle")
    return state, lock


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state, lock = made(tmp_path)
    state.rootfs, state.pid, state.start_time, state.created = "/bundle/rootfs", 7, 8, states.now()
    state.executable, state.annotations = "1:2", {"a": "ä"}
    state.hooks = {"poststop": [{"path": "/x"}]}
    state.save()
    again = states.load(str(tmp_path), "web")
    assert all(getattr(again, name) == getattr(state, name) for name in State.__slots__)
    assert sorted(os.listdir(tmp_path / "web")) == ["state.json"]
    os.close(lock)


def test_the_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    _, lock = made(tmp_path / "root")
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "root/web").stat().st_mode & 0o777 == 0o700
    os.close(lock)


def test_mkdir_decides_who_has_an_id(tmp_path: Path) -> None:
    _, lock = made(tmp_path)
    with pytest.raises(Error, match="container with given ID already exists"):
        made(tmp_path)
    os.close(lock)


def test_a_missing_container_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(Error, match="container does not exist"):
        states.load(str(tmp_path), "web")
    with pytest.raises(Error, match="container does not exist"):
        directory.lock(f"{tmp_path}/web")


def test_a_lock_is_seen_by_others_and_ends_with_its_descriptor(tmp_path: Path) -> None:
    state, lock = made(tmp_path)
    assert directory.is_locked(state.directory)
    os.close(lock)
    assert not directory.is_locked(state.directory)


def test_a_released_lock_is_taken_again_unless_the_container_is_another_one(tmp_path: Path) -> None:
    root = str(tmp_path)
    fd = directory.make_directory(root, "a")
    directory.unlock(fd)
    os.close(directory.lock(f"{root}/a"))
    assert directory.lock_again(fd, f"{root}/a")
    assert directory.is_locked(f"{root}/a")
    os.rmdir(f"{root}/a")
    assert not directory.lock_again(fd, f"{root}/a")
    os.close(directory.make_directory(root, "a"))
    assert not directory.lock_again(fd, f"{root}/a")
    os.close(fd)


def test_a_lock_is_of_the_directory_that_the_path_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between open and lock the container was deleted, and another with its id created: the lock is the new one's."""
    real = _kernel.flock
    web = tmp_path / "web"
    web.mkdir()

    def flock(fd: int, operation: int) -> None:
        monkeypatch.setattr(_kernel, "flock", real)
        web.rename(tmp_path / "old")  # the new one must not get the same inode
        web.mkdir()
        real(fd, operation)

    monkeypatch.setattr(_kernel, "flock", flock)
    lock = directory.lock(str(web))
    assert os.fstat(lock).st_ino == web.stat().st_ino
    assert directory.is_locked(str(web))
    os.close(lock)


def test_a_lock_of_a_directory_that_is_gone_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _kernel.flock
    web = tmp_path / "web"
    web.mkdir()

    locked: list[int] = []

    def flock(fd: int, operation: int) -> None:
        web.rmdir()
        real(fd, operation)
        locked.append(fd)

    monkeypatch.setattr(_kernel, "flock", flock)
    with pytest.raises(Error, match="container does not exist"):
        directory.lock(str(web))
    (fd,) = locked
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_the_state_is_removed_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A create killed in between leaves a container that delete finds, with its cgroup and hooks."""
    names = ["a", "config.json", "exec.fifo", "state.json", "z"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "notify").mkdir()
    (tmp_path / "notify/socket").touch()
    real = os.unlink
    there = []

    def unlink(path: str) -> None:
        there.append((os.path.basename(path), (tmp_path / "state.json").exists()))
        real(path)

    monkeypatch.setattr("posix.unlink", unlink)
    directory.remove_directory(str(tmp_path))
    assert {name for name, _ in there} == {*names, "notify", "socket"}
    assert there[-1] == ("state.json", True)
    assert not tmp_path.exists()


def test_a_container_without_a_pid_is_creating_while_it_is_locked(tmp_path: Path) -> None:
    state, lock = made(tmp_path)
    assert state.status() == "creating"
    os.close(lock)
    assert state.status() == "stopped"


def living(tmp_path: Path, executable: str) -> State:
    state, lock = made(tmp_path)
    os.close(lock)
    state.pid = os.getpid()
    state.start_time = states.process_start(os.getpid())
    state.executable = executable
    return state


def test_the_status_follows_the_fifo_and_the_executable(tmp_path: Path) -> None:
    state = living(tmp_path, states.executable_of("self"))
    assert state.status() == "running"
    Path(state.directory, states.FIFO_NEW).touch()
    assert state.status() == "creating"
    os.rename(Path(state.directory, states.FIFO_NEW), Path(state.directory, states.FIFO))
    assert state.status() == "created"
    # A start that was killed before it removed the FIFO: the process runs something else by now.
    state.executable = "1:2"
    assert state.status() == "running"


def test_run_and_restore_keep_the_first_name_of_the_fifo(tmp_path: Path) -> None:
    state = living(tmp_path, "1:2")
    Path(state.directory, states.FIFO_NEW).touch()
    assert state.status() == "running"  # run: the process has executed
    state.executable = ""
    assert state.status() == "creating"  # restore: what its process runs says nothing


def test_another_process_of_the_same_pid_is_not_ours(tmp_path: Path) -> None:
    state = living(tmp_path, "")
    state.start_time -= 1
    assert state.status() == "stopped"
    assert state.to_oci()["pid"] == 0


def test_a_zombie_has_stopped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert states.process_start(child.pid) > 0
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert states.process_start(child.pid) == states.ENDED
    child.wait()
    assert states.process_start(child.pid) == states.UNSEEN


def test_a_process_may_have_any_name(tmp_path: Path) -> None:
    rename = "open('/proc/self/comm', 'w').write('a) Z 1 (b')"
    program = f"import sys; {rename}; print('named', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert states.process_start(child.pid) > 0
    child.communicate()


def test_hooks_get_what_the_specification_names() -> None:
    state = State("/run/x", "web", "/bundle")
    state.pid, state.annotations = 7, {"a": "b"}
    assert state.for_hooks("created") == {
        "ociVersion": "1.3.0",
        "id": "web",
        "status": "created",
        "pid": 7,
        "bundle": "/bundle",
        "annotations": {"a": "b"},
    }
    assert "pid" not in state.for_hooks("stopped", 0)


def test_the_time_has_a_zone() -> None:
    import datetime

    assert datetime.datetime.fromisoformat(states.now()).tzinfo is not None


def test_a_process_whose_main_thread_has_ended_lives(tmp_path: Path) -> None:
    program = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "print('ready', flush=True)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        child.stdout.readline()
        stat = Path(f"/proc/{child.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        state = living(tmp_path, "1:2")
        state.pid, state.start_time = child.pid, states.process_start(child.pid)
        assert state.start_time > 0
        Path(state.directory, states.FIFO).touch()
        assert state.status() == "running"
    finally:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert state.status() == "stopped"
        child.communicate()
    assert state.status() == "stopped"


# Where /proc does not show the process (hidepid).


@pytest.fixture
def unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[State, subprocess.Popen[bytes]]]:
    """The state of a living process, with a /proc that hides it."""
    child = subprocess.Popen(["sleep", "1000"])
    state = living(tmp_path, "")
    state.pid, state.start_time = child.pid, states.process_start(child.pid)
    pidfd = os.pidfd_open(child.pid)
    state.pidfd_inode = states.pidfd_inode_of(pidfd)
    os.close(pidfd)
    monkeypatch.setattr(states, "process_start", lambda _pid: states.UNSEEN)
    yield state, child
    child.kill()
    child.wait()


def test_a_process_that_cannot_be_seen_is_not_dead(unseen: tuple[State, subprocess.Popen[bytes]]) -> None:
    state, child = unseen
    assert state.is_alive()
    state.start_time = states.UNSEEN
    assert state.is_alive()
    state.pidfd_inode = 0  # before Linux 6.9
    assert state.is_alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not state.is_alive(), "a zombie"
    child.wait()
    assert not state.is_alive(), "no such process"


def test_another_process_that_cannot_be_seen_is_not_ours(
    unseen: tuple[State, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, _ = unseen
    if state.pidfd_inode:
        state.pidfd_inode += 1
        assert not state.is_alive()
    state.pidfd_inode = 0

    def refuse(_pidfd: int, _signal: int) -> None:
        raise PermissionError(errno.EPERM, "another user's")

    monkeypatch.setattr(_kernel, "pidfd_send_signal", refuse)
    assert not state.is_alive()


def test_an_unknown_status_is_an_error_and_not_death(
    unseen: tuple[State, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, _ = unseen

    def refuse(_pid: int, _flags: int) -> int:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(_kernel, "pidfd_open", refuse)
    with pytest.raises(Error, match="cannot inspect the container's process"):
        state.status()


def test_a_dead_process_of_which_nothing_was_known_has_stopped(tmp_path: Path) -> None:
    """Its start time could not be read any more when the state was written."""
    state = living(tmp_path, "")
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    state.pid, state.start_time = child.pid, states.ENDED
    assert state.status() == "stopped"
    child.wait()

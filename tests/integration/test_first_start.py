"""The snapshot that the first start of an installation makes (launcher/renew.c), `ocipy setup`, and a Python that
has gone."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.linux.text import lines_of
from tests.harness import Bundle, wait_until
from tests.harness.host import scaled
from tests.integration.installation import Installation, install, makers
from tests.unit.launcher.test_hot_modules import BUILD

pytestmark = [
    pytest.mark.ocipy_only(reason="its own installation"),
    pytest.mark.skipif(not (BUILD / "_snapshot.bin").exists(), reason="this Python can have no snapshot"),
]
NONE_YET = "slow (there is no snapshot yet; one is made when this command ends)"


@pytest.fixture(scope="module")
def installed() -> Iterator[Installation]:
    """In a directory whose name has a space and an é, and which other users can enter."""
    with tempfile.TemporaryDirectory(prefix="first-") as place:
        Path(place).chmod(0o755)
        yield install(Path(place, "build"), Path(place, "a prefix é"))


@pytest.fixture
def fresh(installed: Installation) -> Iterator[Installation]:
    """Without a snapshot. Waits for the processes that make one, at the end."""
    wait_until(lambda: not makers(installed.executable), "the end of the processes that make a snapshot")
    installed.forget()
    yield installed
    wait_until(lambda: not makers(installed.executable), "the end of the processes that make a snapshot")


def stopped_maker(installed: Installation) -> int:
    """The process that the command before has left, stopped while it works."""
    wait_until(installed.new.exists, "the begin of its work")
    # It forks for its rehearsals.
    (pid,) = (pid for pid in makers(installed.executable) if os.getsid(pid) == pid)
    os.kill(pid, signal.SIGSTOP)
    return pid


def is_made(installed: Installation) -> None:
    wait_until(lambda: installed.snapshot.stat().st_size > 1 << 20, "the snapshot")
    wait_until(lambda: not makers(installed.executable), "the end of the process that makes it")
    assert sorted(path.name for path in installed.launcher.glob("_snapshot*")) == ["_snapshot.bin"]
    assert installed.snapshot.stat().st_mode & 0o7777 == 0o644
    assert installed.start() == "snapshot"


def test_the_first_start_makes_it(fresh: Installation) -> None:
    assert fresh.start() == NONE_YET
    is_made(fresh)


@pytest.mark.parametrize("command", ["state", "run"])
def test_so_does_a_command_that_fails_or_is_sealed(fresh: Installation, bundle: Bundle, command: str) -> None:
    bundle.write()
    words = ["run", "--bundle", str(bundle.path), f"first-{os.getpid()}"] if command == "run" else ["state", "x"]
    fresh.call("--root", str(bundle.path / "state"), *words)
    is_made(fresh)


def test_whoever_waits_for_the_command_does_not_wait_for_that(fresh: Installation, tmp_path: Path) -> None:
    """Its process has none of the caller's pipes, sessions, directories and cgroups."""
    read, write = os.pipe()
    fresh.call("state", "nobody", pass_fds=(write,), cwd=str(tmp_path))  # ends at the end of file of two more pipes
    os.close(write)
    pid = stopped_maker(fresh)
    try:
        os.set_blocking(read, False)
        assert os.read(read, 1) == b"", "end of file, though it lives"
        assert os.getsid(pid) == pid
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        held = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
        assert held - {str(fresh.new), str(fresh.launcher / "_frozen.bin")} == {"/dev/null"}
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        cgroups = [line.split(b":", 2)[2] for line in lines_of(Path(f"/proc/{pid}/cgroup").read_bytes())]
        if os.geteuid() == 0 and Path("/proc/1/cgroup").read_bytes().count(b":/\n"):
            assert set(cgroups) == {b"/"}
    finally:
        os.kill(pid, signal.SIGCONT)
        os.close(read)
    is_made(fresh)


@pytest.mark.needs_program("strace")
def test_an_executable_that_an_upgrade_replaces_meanwhile_is_executed(fresh: Installation, tmp_path: Path) -> None:
    """The running one is not continued in the other one's code (replace.c)."""
    fresh.call("setup")
    build_id = fresh.snapshot.read_bytes()[8:28]
    ours = fresh.executable.read_bytes()
    assert ours.count(build_id) == 1
    calls, other, kept = tmp_path / "calls", fresh.executable.with_name("other"), fresh.executable.with_name("kept")
    other.write_bytes(ours.replace(build_id, bytes(20)))
    other.chmod(0o755)
    os.link(fresh.executable, kept)
    slow = ["-e", "trace=execve,execveat,fsopen", "-e", "inject=fsopen:delay_enter=1000000"]
    command = ["strace", "-qq", "-o", str(calls), *slow, str(fresh.executable), "create", "--bundle", "/nowhere", "one"]
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, env={}) as process:
            wait_until(lambda: calls.exists() and "fsopen" in calls.read_text(), "the overlay")
            other.replace(fresh.executable)
            assert b"/nowhere" in process.communicate()[1]
        assert calls.read_text().count("exec") == 2
    finally:
        kept.replace(fresh.executable)


def test_many_first_starts_at_once(fresh: Installation) -> None:
    calls = [subprocess.Popen([fresh.executable, "state", "nobody"], stderr=subprocess.PIPE, env={}) for _ in range(8)]
    for call in calls:
        assert b"container does not exist" in call.communicate(timeout=scaled(60))[1]
    is_made(fresh)
    assert sorted(path.name for path in fresh.launcher.glob("_snapshot*")) == ["_snapshot.bin"]


def test_one_that_comes_too_late_makes_no_other(fresh: Installation) -> None:
    fresh.call("setup")
    before = fresh.snapshot.stat().st_ino
    assert fresh.call("_renew").returncode == 0
    assert fresh.snapshot.stat().st_ino == before
    assert not fresh.new.exists()


def test_a_maker_that_is_killed(fresh: Installation) -> None:
    fresh.start()
    os.kill(stopped_maker(fresh), signal.SIGKILL)
    wait_until(lambda: not makers(fresh.executable), "its end")
    assert fresh.snapshot.stat().st_size == 0
    if fresh.new.exists():  # not each command tries again
        assert "the last try to make one failed" in fresh.start()
        assert makers(fresh.executable) == []
        os.utime(fresh.new, (time.time() - 61,) * 2)
    assert fresh.start() == NONE_YET
    is_made(fresh)


@pytest.mark.parametrize("what", ["a symlink", "a hard link", "a FIFO", "a file of another user", "an open file"])
def test_a_planted_file_is_neither_followed_nor_used(fresh: Installation, tmp_path: Path, what: str) -> None:
    victim = fresh.launcher / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    try:
        if what == "a symlink":
            fresh.new.symlink_to(victim)
        elif what == "a hard link":
            fresh.new.hardlink_to(victim)
        elif what == "a FIFO":
            os.mkfifo(fresh.new, 0o600)
        else:
            fresh.new.touch(0o600)
            os.chown(fresh.new, 1234 if "another" in what else os.geteuid(), 1234)
            fresh.new.chmod(0o666)
        assert fresh.start() == NONE_YET
        is_made(fresh)
        assert victim.read_text() == "precious"
        assert victim.stat().st_mode & 0o777 == 0o600
    finally:
        victim.unlink()


def test_a_symlink_in_place_of_the_snapshot(fresh: Installation) -> None:
    victim = fresh.launcher / "victim"
    victim.write_text("precious")
    fresh.snapshot.unlink()
    fresh.snapshot.symlink_to(victim)
    fresh.start()
    wait_until(lambda: not fresh.snapshot.is_symlink(), "the snapshot")
    is_made(fresh)
    assert victim.read_text() == "precious"
    victim.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_another_user_makes_none(fresh: Installation) -> None:
    slow = "slow (there is no snapshot yet; only the owner of the installation can make one)"
    assert fresh.start(user=1234, group=1234, extra_groups=[]) == slow
    assert makers(fresh.executable) == []
    refused = fresh.call("setup", user=1234, group=1234, extra_groups=[])
    assert refused.returncode == 1
    assert "only the owner of the installation can make one" in refused.stderr
    assert fresh.snapshot.stat().st_size == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_where_no_overlay_can_be_mounted_it_says_which_commands_are_slow(fresh: Installation) -> None:
    fresh.call("setup")
    assert fresh.start() == "snapshot"
    slow = "snapshot; create, run, exec, restore: slow (no overlay can be mounted)"
    assert fresh.start(user=1234, group=1234, extra_groups=[]) == slow


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to mount")
def test_a_read_only_installation_says_so(fresh: Installation) -> None:
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && "$0/bin/ocipy" --version'
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(fresh.prefix)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "start: slow (there is no snapshot yet; the installation is read-only)"


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_where_it_cannot_be_written_the_next_commands_do_not_try_again(fresh: Installation) -> None:
    fresh.call("state", "nobody", preexec_fn=small_files)
    wait_until(lambda: not makers(fresh.executable), "its end")
    assert fresh.new.stat().st_size == 0, "a full disk gets its space back"
    assert "the last try to make one failed: ocipy setup says why" in fresh.start()
    assert makers(fresh.executable) == []
    said = fresh.call("setup", preexec_fn=small_files)
    assert said.returncode == 1
    assert said.stderr.startswith(f"ocipy: setup: cannot write the snapshot {fresh.snapshot}: File too large")
    assert fresh.call("setup").returncode == 0
    is_made(fresh)


def test_a_try_in_the_future_does_not_keep_commands_from_trying(fresh: Installation) -> None:
    """The clock was wrong then, as that of a machine is before it knows the time."""
    fresh.new.touch(0o600)
    os.utime(fresh.new, (time.time() + 1_000_000,) * 2)
    assert fresh.start() == NONE_YET
    is_made(fresh)


def test_setup_makes_it_and_makes_it_anew(fresh: Installation) -> None:
    for _ in range(2):
        before = fresh.snapshot.stat().st_ino
        said = fresh.call("setup")
        assert said.stdout.startswith(f"made {fresh.snapshot} ("), said.stderr
        assert fresh.start() == "snapshot"
        assert fresh.snapshot.stat().st_ino != before
        assert not fresh.new.exists()


def test_a_moved_installation_makes_another_one(fresh: Installation, tmp_path: Path) -> None:
    fresh.call("setup")
    copy = tmp_path / "moved è"
    shutil.copytree(fresh.prefix, copy, symlinks=True)
    moved = Installation(copy)
    assert moved.start() == "slow (the snapshot was made at another place; one is made when this command ends)"
    is_made(moved)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to mount")
@pytest.mark.parametrize("snapshot", [False, True], ids=["slow", "snapshot"])
def test_a_python_that_has_gone_is_one_sentence(fresh: Installation, bundle: Bundle, snapshot: bool) -> None:
    """Nothing is said by the interpreter, whose own word is "Fatal Python error"."""
    if snapshot:
        fresh.call("setup")
    bundle.write()
    stdlib = os.path.dirname(os.__file__)

    def without_python(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"']
        return subprocess.run(
            [*command, stdlib, str(fresh.executable), *words], capture_output=True, text=True, check=False
        )

    gone = f"built for the Python in {stdlib}, which is gone"
    for words in (["validate", str(bundle.path)], ["checkpoint", "x"], ["features"], ["stat"]):
        said = without_python(*words)
        if snapshot and said.returncode == 0:
            continue  # it is in the snapshot
        assert "Fatal" not in said.stderr
        assert "internal error" not in said.stderr
        if not snapshot:
            assert gone in said.stderr.split("\n")[0]
            assert said.returncode == 1

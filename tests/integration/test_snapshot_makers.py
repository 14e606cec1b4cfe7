"""Several makers of a snapshot, makers that fail, and files planted where it is made (launcher/snapshot_file.c)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from ocipy.linux.text import lines_of
from tests.harness import wait_until
from tests.harness.host import scaled
from tests.integration.installation import NONE_YET, PATIENCE, Installation, is_made, makers, stopped_maker
from tests.unit.launcher.test_hot_modules import BUILD

pytestmark = [
    pytest.mark.ocipy_only(reason="its own installation"),
    pytest.mark.skipif(not (BUILD / "_snapshot.bin").exists(), reason="this Python can have no snapshot"),
]
# inotify(7)
IN_ATTRIB, IN_MOVED_FROM, IN_MOVED_TO = 0x4, 0x40, 0x80


def waiters(installed: Installation) -> int:
    """How many of its makers wait for a lock. proc_locks(5): their lines have "->" after the number."""
    lines = [line.split() for line in lines_of(Path("/proc/locks").read_bytes())]
    waiting = {int(words[5]) for words in lines if words[1] == b"->"}
    return len(waiting.intersection(makers(installed)))


@pytest.mark.parametrize("command", ["_renew", "setup"])
def test_a_maker_waits_for_another_one_and_takes_its_snapshot(fresh: Installation, command: str) -> None:
    """Three arrive while the test, as the other maker, holds the lock and has only the rename left to do."""
    fresh.call("setup")
    fresh.snapshot.rename(fresh.new)
    fresh.new.chmod(0o600)
    fresh.snapshot.touch(0o644)
    words = [str(fresh.executable), command]
    with fresh.new.open("rb") as ours:
        fcntl.flock(ours, fcntl.LOCK_EX)
        inode = os.fstat(ours.fileno()).st_ino
        others = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={}) for _ in range(3)]
        wait_until(lambda: waiters(fresh) == len(others), "all of them")
        assert fresh.start() == "slow (there is no snapshot yet; one is being made)"
        fresh.new.rename(fresh.snapshot)
        os.fchmod(ours.fileno(), 0o644)
    for process in others:
        said, _ = process.communicate(timeout=scaled(PATIENCE))
        assert process.returncode == 0, said
    is_made(fresh)
    assert fresh.snapshot.stat().st_ino == inode


class Events:
    """What happens in a directory, as (kind, name): inotify(7)."""

    def __init__(self, directory: Path, kinds: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.fd >= 0
        assert libc.inotify_add_watch(self.fd, os.fsencode(directory), kinds) >= 0

    def read(self) -> list[tuple[int, str]]:
        """Return all events since the last call, and close the descriptor."""
        with open(self.fd, "rb", buffering=0) as file:
            data = file.read(1 << 20) or b""
        found = []
        while data:
            _, kind, _, size = struct.unpack_from("iIII", data)
            found.append((kind, data[16 : 16 + size].rstrip(b"\0").decode()))
            data = data[16 + size :]
        return found


def test_a_maker_opens_its_snapshot_to_all_only_under_the_final_name(fresh: Installation) -> None:
    """If others could read FILE.new, the next maker would treat it as planted, remove it, and make an empty one."""
    events = Events(fresh.launcher, IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO)
    fresh.call("setup")
    seen = [event for event in events.read() if event[1] in (fresh.new.name, fresh.snapshot.name)]
    name = fresh.snapshot.name
    assert seen == [(IN_MOVED_FROM, fresh.new.name), (IN_MOVED_TO, name), (IN_ATTRIB, name)]


def test_many_first_starts_at_once(fresh: Installation) -> None:
    calls = [subprocess.Popen([fresh.executable, "state", "nobody"], stderr=subprocess.PIPE, env={}) for _ in range(8)]
    for call in calls:
        assert b"container does not exist" in call.communicate(timeout=scaled(60))[1]
    is_made(fresh)
    assert sorted(path.name for path in fresh.launcher.glob("_snapshot*")) == ["_snapshot.bin"]


def test_a_maker_that_comes_too_late_makes_no_second_snapshot(fresh: Installation) -> None:
    fresh.call("setup")
    before = fresh.snapshot.stat().st_ino
    assert fresh.call("_renew").returncode == 0
    assert fresh.snapshot.stat().st_ino == before
    assert not fresh.new.exists()


def test_a_maker_that_is_killed(fresh: Installation) -> None:
    fresh.start()
    os.kill(stopped_maker(fresh), signal.SIGKILL)
    wait_until(lambda: not makers(fresh), "its end", PATIENCE)
    assert fresh.snapshot.stat().st_size == 0
    if fresh.new.exists():  # not every command tries again
        assert "the last attempt to make one failed" in fresh.start()
        assert makers(fresh) == []
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


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_if_it_cannot_be_written_the_next_commands_do_not_try_again(fresh: Installation) -> None:
    fresh.call("state", "nobody", preexec_fn=small_files)
    wait_until(lambda: not makers(fresh), "its end", PATIENCE)
    assert fresh.new.stat().st_size == 0, "a full disk gets its space back"
    assert "the last attempt to make one failed: ocipy setup says why" in fresh.start()
    assert makers(fresh) == []
    said = fresh.call("setup", preexec_fn=small_files)
    assert said.returncode == 1
    assert said.stderr.startswith(f"ocipy: setup: cannot write the snapshot {fresh.snapshot}: File too large")
    assert fresh.call("setup").returncode == 0
    is_made(fresh)


def test_an_attempt_in_the_future_does_not_stop_commands_from_trying(fresh: Installation) -> None:
    """The clock was wrong then, as on a machine that has not set it yet."""
    fresh.new.touch(0o600)
    os.utime(fresh.new, (time.time() + 1_000_000,) * 2)
    assert fresh.start() == NONE_YET
    is_made(fresh)

"""Failing checkpoints and restores: their errors and leftovers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import descendants, scaled, wait_until
from tests.harness.criu import SEARCHED, Asked, Counter
from tests.harness.leaks import reap

pytestmark = pytest.mark.usefixtures("criu")

Check = Callable[[], None]


def test_an_open_host_file_is_named_as_the_cause(counter: Counter, work: Path) -> None:
    """The container continues, and keeps its cgroup and state."""
    with (work / "output").open("wb") as output:
        counter.run(stderr=output.fileno())
    result = counter.checkpoint()
    result.fails("criu")
    if counter.runtime.is_ocipy:
        result.fails("Can't lookup mount", "w/dump.log", "a host file is open")
    assert counter.status == "running"
    counter.goes_on(counter.count)


def test_a_paused_container_stays_paused(counter: Counter, work: Path) -> None:
    with (work / "output").open("wb") as output:
        counter.run(stderr=output.fileno())
    counter.runtime.call("pause", counter.id).ok()
    counter.checkpoint().fails("criu")
    assert counter.status == "paused"
    counter.runtime.call("resume", counter.id).ok()
    counter.goes_on(counter.count)


class Deaf:
    """A page server that listens, then stays silent: criu waits for its answer in the middle of a dump."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(scaled(60))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        self.connection: socket.socket | None = None

    def accept(self) -> None:
        """Wait until criu has sent its first request."""
        self.connection, _ = self.listening.accept()
        self.connection.settimeout(scaled(60))
        assert self.connection.recv(1)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.listening.close()


@contextmanager
def deaf() -> Iterator[Deaf]:
    one = Deaf()
    try:
        yield one
    finally:
        one.close()


def test_a_checkpoint_is_killed(counter: Counter, assert_nothing_left: Check) -> None:
    """criu carries on alone until it needs an answer; then it gives up, and the container continues."""
    pid = counter.run()
    with deaf() as server:
        checkpoint = counter.begin_checkpoint("--page-server", server.address)
        server.accept()
        checkpoint.signal(signal.SIGKILL)
        checkpoint.process.wait()
        assert counter.status in ("running", "paused")
    wait_until(lambda: counter.status == "running", "the end of criu", 30)
    assert counter.pid == pid
    counter.goes_on(counter.count)
    wait_until(lambda: not _criu_runs(), "the end of criu")
    counter.images = counter.work / "other"
    before = counter.count
    counter.there_and_back()
    counter.goes_on(before)
    counter.runtime.delete(counter.id, force=True).ok()
    reap()
    assert_nothing_left()


def _criu_runs() -> bool:
    reap()
    return any(b"criu" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants())


def test_criu_is_killed(counter: Counter) -> None:
    pid = counter.run()
    with deaf() as server:
        checkpoint = counter.begin_checkpoint("--page-server", server.address)
        server.accept()
        for criu in descendants(checkpoint.pid):
            os.kill(criu, signal.SIGKILL)
        failed = checkpoint.wait(60)
        failed.fails("criu")
        if counter.runtime.is_ocipy:
            failed.fails("killed by signal 9")
    assert (counter.pid, counter.status) == (pid, "running")
    counter.goes_on(counter.count)


@pytest.mark.ocipy_only("runc exits at once, and leaves criu alone with the container")
def test_a_checkpoint_is_interrupted(counter: Counter) -> None:
    """criu gets time to exit by itself: here it fails, and the container continues."""
    pid = counter.run()
    with deaf() as server:
        checkpoint = counter.begin_checkpoint("--page-server", server.address)
        server.accept()
        checkpoint.signal(signal.SIGTERM)
    checkpoint.wait(60).fails("interrupted by SIGTERM", "criu's dump was abandoned", status=128 + signal.SIGTERM)
    assert (counter.pid, counter.status) == (pid, "running")
    counter.goes_on(counter.count)


@contextmanager
def small(place: Path, size: str) -> Iterator[Path]:
    """A small filesystem."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("log", ["elsewhere", "there"])
@pytest.mark.parametrize("size", ["4k", "100k"])
def test_a_full_disk(counter: Counter, work: Path, size: str, log: str) -> None:
    pid = counter.run()
    with small(work / "small", size) as place:
        counter.images = place / "images"
        place = work / "w" if log == "elsewhere" else place / "w"
        words: list[str | Path] = ["checkpoint", "--image-path", counter.images, "--work-path", place, counter.id]
        failed = counter.runtime.call(*words, env=SEARCHED)
        failed.fails("criu")
        if counter.runtime.is_ocipy:
            assert "No space left on device" in failed.stderr or "small/images is full" in failed.stderr
        assert (counter.pid, counter.status) == (pid, "running")
        counter.goes_on(counter.count)


CUT_OFF = "pages-1.img is truncated"
reads_on = pytest.mark.ocipy_only("criu reads on and on")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _garble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def _newer(path: Path) -> None:
    """The first field of an inventory is the version of all images (criu's images/inventory.proto)."""
    data = bytearray(path.read_bytes())
    assert data[8] == 0x08
    data[9] = 99
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("core-1.img", lambda path: path.write_bytes(b""), "Unexpected EOF"),
        ("core-1.img", _cut, "core-1.img"),
        ("core-1.img", _garble, "core-1.img"),
        ("core-1.img", Path.unlink, "Unexpected EOF"),
        ("pstree.img", _cut, "pstree.img"),
        ("pages-1.img", Path.unlink, "Can't read"),
        pytest.param("pages-1.img", _cut, CUT_OFF, marks=reads_on),
        ("inventory.img", _cut, "inventory.img"),
        ("inventory.img", _garble, "inventory"),
        ("inventory.img", lambda path: path.write_bytes(b""), "inventory"),
        ("inventory.img", _newer, "version 99"),
    ],
)
def test_a_broken_image(
    counter: Counter, assert_nothing_left: Check, name: str, damage: Callable[[Path], object], words: str
) -> None:
    counter.run()
    counter.checkpoint().ok()
    damage(counter.images / name)
    failed = counter.restore()
    failed.fails(words if counter.runtime.is_ocipy else "criu")
    if counter.runtime.is_ocipy and words != CUT_OFF:
        failed.fails("criu cannot restore the container", "restore.log")
    reap()
    assert_nothing_left()


@pytest.mark.ocipy_only("runc leaves what it has made, and its mounts")
def test_a_restore_is_killed(counter: Counter, assert_nothing_left: Check) -> None:
    """In a hook that runs once the namespaces and the first process exist."""
    counter.run()
    counter.checkpoint().ok()
    hanging = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $$ > {counter.work}/hook; exec sleep 1000"]}
    counter.bundle.config["hooks"] = {"createRuntime": [hanging]}
    counter.bundle.write()
    running = counter.begin_restore()
    wait_until(lambda: (counter.work / "hook").exists() and (counter.work / "hook").read_text(), "the hook", 60)
    running.signal(signal.SIGKILL)
    running.process.wait()
    # criu may have noticed the broken connection already, and given up.
    assert counter.status in ("creating", "stopped")
    counter.runtime.delete(counter.id, force=True).ok()
    os.kill(int((counter.work / "hook").read_text()), signal.SIGKILL)
    wait_until(lambda: not reap(), "the end of criu")
    assert_nothing_left()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_a_hook_fails_at_restore(counter: Counter, assert_nothing_left: Check, kind: str) -> None:
    """The checkpoint is still valid."""
    counter.run()
    counter.checkpoint().ok()
    before = counter.count
    counter.bundle.config["hooks"] = {kind: [{"path": "/bin/false"}]}
    counter.bundle.write()
    counter.restore("--pid-file", counter.work / "pid").fails("hook")
    assert not (counter.work / "pid").exists()
    reap()
    assert_nothing_left()
    del counter.bundle.config["hooks"]
    counter.bundle.write()
    counter.restore().ok()
    counter.goes_on(before)


def test_a_root_that_has_changed(asked: Asked, assert_nothing_left: Check) -> None:
    """The error names an open file that is missing from the root filesystem."""
    asked.bundle.file("/etc/open", "text")
    asked.run()
    asked.ask("file = open('/etc/open')")
    asked.checkpoint().ok()
    (asked.bundle.rootfs / "etc/open").unlink()
    asked.restore().fails("criu", "etc/open")
    reap()
    assert_nothing_left()

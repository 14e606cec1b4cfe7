"""`ocipy box` killed with SIGKILL at each step of each command: `rm -f` removes the leftovers.

A step is a system call that changes something or waits: strace(1) kills the command at the first, then at the second,
until the command completes.
"""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.box.conftest import Box, left_behind
from tests.conftest import runtime_path
from tests.harness.host import scaled, wait_until
from tests.harness.leaks import reap

pytestmark = pytest.mark.needs_program("strace")

SLEEP = ("busybox", "sleep", "1000")
# The preparation, and the command line to kill.
COMMANDS = {
    "run": ((), ("run", "--name", "one", "--network", "none", "busybox", "true")),
    "run --rm": ((), ("run", "--rm", "--name", "one", "--network", "none", "busybox", "true")),
    "run on a bridge": ((), ("run", "--name", "one", "-p", "8082:80", "busybox", "true")),
    "run -d": ((), ("run", "-d", "--name", "one", "--network", "none", *SLEEP)),
    "start": (("create", "--name", "one", "--network", "none", *SLEEP), ("start", "one")),
    "stop": (("run", "-d", "--name", "one", "--network", "none", *SLEEP), ("stop", "-t", "0", "one")),
    "cp": (("create", "--name", "one", "--network", "none", *SLEEP), ("cp", "one:/etc/hostname", "/dev/null")),
    "rm": (("run", "-d", "--name", "one", "--network", "none", *SLEEP), ("rm", "-f", "one")),
}
# The calls at which to kill it. Of some, only every STRIDE-th is tried.
CALLS = ("mkdir", "rename", "vfork", "wait4", "flock", "unlinkat")
MORE_CALLS = {"run on a bridge": ("sendto", "unshare", "setns")}
STRIDE = {"sendto": 5, "unlinkat": 3}


def killed_at(box: Box, call: str, number: int, words: tuple[str, ...]) -> bool:
    """Whether the command was killed; False if it completed before that call."""
    command = [*box.before, "strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:signal=KILL:when={number}", runtime_path(), "box", *words]
    done = subprocess.run(
        command, check=False, env=box.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, timeout=scaled(60),
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def cleared(box: Box, ids: set[str]) -> None:
    """Nothing remains after `rm -f` of all boxes in `ps -a`; the next box clears the directories."""
    found = box("ps", "-aq").stdout.split()
    ids.update(found)
    if found:
        box("rm", "-f", *found)
    left: list[str] = []

    def nothing_left() -> bool:
        reap()
        left[:] = left_behind(box.places, ids)
        return not left

    try:
        wait_until(nothing_left, timeout=10)
    except AssertionError:
        pytest.fail("left behind:\n  " + "\n  ".join(left))
    boxes = box.places / "data/boxes"
    if len(list(boxes.iterdir())) > 1:
        box.run("busybox", "true")
        assert [path.name for path in boxes.iterdir()] == [".lock"]


@pytest.mark.parametrize("name", COMMANDS)
def test_rm_clears_what_a_killed_command_has_left(box: Box, name: str) -> None:
    before, words = COMMANDS[name]
    box.run("busybox", "true")  # fetches the image
    steps = 0
    for call in (*CALLS, *MORE_CALLS.get(name, ())):
        number, killed = 1, True
        while killed:
            ids: set[str] = set()
            if before:
                box(*before)
                ids.update(path.name for path in (box.places / "data/boxes").glob("[!.]*"))
            killed = killed_at(box, call, number, words)
            ids.update(path.name for path in (box.places / "data/boxes").glob("[!.]*"))
            print(f"killed at {call} {number}" if killed else f"not killed at {call} {number}")
            cleared(box, ids)
            number += STRIDE.get(call, 1)
            steps += killed
    assert steps > 5


def test_a_box_whose_record_cannot_be_read_is_named_and_keeps_images(box: Box) -> None:
    other = box("create", "--name", "two", *SLEEP).stdout.strip()
    box_id = box("create", "--name", "one", *SLEEP).stdout.strip()
    (box.places / "data/boxes" / box_id / "box.json").write_text("{")
    told = box("ps", "-a")
    assert "two" in told.stdout and "one" not in told.stdout
    assert told.stderr.startswith(
        f"ocipy: box ps: {box.places}/data/boxes/{box_id}/box.json: the record of box {box_id}"
    )
    assert f"rm -f {box_id}" in told.stderr
    box("rm", other)
    assert box_id in box("rmi", "busybox", status=1).stderr
    box("rm", "-f", box_id)
    assert box("ps", "-a").stderr == ""
    box("rmi", "busybox")


def test_rm_clears_a_box_whose_record_cannot_be_read(box: Box) -> None:
    box_id = box("run", "-d", "--name", "one", *SLEEP).stdout.strip()
    (box.places / "data/boxes" / box_id / "box.json").write_text("{")
    for words in (("rm", box_id), ("inspect", box_id)):
        told = box(*words, status=None)
        assert told.returncode != 0 and "cannot be read" in told.stderr
    box("rm", "-f", box_id)
    cleared(box, {box_id})
    assert not (box.places / "data/boxes" / box_id).exists()


def test_a_box_starts_after_a_copy_that_was_killed(box: Box) -> None:
    """The idle process that the copy has left is not the box's own run."""
    made = box("create", "--name", "one", "--network", "none", *SLEEP).stdout.strip()
    fifo = box.places / "fifo"
    os.mkfifo(fifo)
    copying = box.begin("cp", "one:/etc/hostname", str(fifo))  # waits for a reader

    def idles() -> bool:
        words = [runtime_path(), "--root", str(box.places / "run/runtime"), "state", made]
        return b'"running"' in subprocess.run(words, check=False, capture_output=True).stdout

    wait_until(idles, "it copies", timeout=20)
    assert box("ps").stdout.count("\n") == 1 and "created" in box("ps", "-a").stdout
    assert "is not running" in box("exec", "one", "true", status=1).stderr
    copying.kill()
    copying.wait()
    box("start", "one")
    assert box("exec", "one", "cat", "/proc/1/comm").stdout == "sleep\n"
    box("stop", "-t", "0", "one")

"""`box attach`: our terminal, attached to that of a box in the background."""

from __future__ import annotations

import os
import select
import subprocess
import termios
import time

from tests.box.conftest import Box
from tests.conftest import runtime_path
from tests.harness.host import scaled


def read_until(master: int, word: bytes) -> bytes:
    """The terminal's output up to a word. Raises AssertionError if the word does not appear."""
    shown = b""
    deadline = time.monotonic() + scaled(20)
    while word not in shown:
        ready, _, _ = select.select([master], [], [], max(0, deadline - time.monotonic()))
        assert ready, shown
        shown += os.read(master, 4096)
    return shown


def attach(box: Box) -> tuple[int, subprocess.Popen[bytes]]:
    """(our terminal's master, the command on it): `box attach shell`, in a terminal of 30 rows and 90 columns."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (30, 90))
    attached = subprocess.Popen(
        [runtime_path(), "box", "attach", "shell"], stdin=slave, stdout=slave, stderr=slave, env=box.environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    return master, attached


def test_a_terminal_its_size_and_the_exit_status(box: Box) -> None:
    box("run", "-d", "-it", "--name", "shell", "--network", "none", "busybox", "sh")
    master, attached = attach(box)
    os.write(master, b"tty; stty size\n")
    assert b"/dev/pts/0" in read_until(master, b"30 90")
    os.write(master, b"exit 5\n")
    assert attached.wait(scaled(20)) == 5
    os.close(master)
    assert "exited (5)" in box("ps", "-a").stdout


def test_ctrl_p_ctrl_q_leaves_it_running(box: Box) -> None:
    box("run", "-d", "-it", "--name", "shell", "--network", "none", "busybox", "sh")
    master, attached = attach(box)
    os.write(master, b"echo $((6 * 7))\n")
    read_until(master, b"42")
    os.write(master, b"\x10\x11")
    assert attached.wait(scaled(20)) == 0
    os.close(master)
    assert box.inspect("shell")["state"]["status"] == "running"


def test_a_box_that_does_not_run_or_does_not_exist_is_refused(box: Box) -> None:
    box("create", "--name", "idle", "--network", "none", "busybox")
    assert "is not running in the background" in box("attach", "idle", status=1).stderr
    assert "there is no box" in box("attach", "nobody", status=1).stderr

"""What a box uses: the figures of `inspect`, and `stats` and `top`, which continue until they are interrupted."""

from __future__ import annotations

import os
import pty
import signal
import subprocess

import pytest

from tests.box.conftest import SECONDS, Box, needs
from tests.conftest import runtime_path
from tests.harness.host import scaled, wait_until

MIB = 1 << 20
WORK = "dd if=/dev/zero of=/eaten/x bs=1M count=20; while :; do :; done"


@pytest.fixture
def busy(box: Box) -> str:
    """A box that uses 20 MiB, and exhausts its CPU quota."""
    needs("memory")
    flags = ("--network", "none", "-m", "50M", "--cpus", "0.1", "--pids-limit", "20", "--tmpfs", "/eaten")
    box("run", "-d", "--name", "busy", *flags, "busybox", "sh", "-c", WORK)
    return "busy"


def test_the_figures_of_a_box(box: Box, busy: str) -> None:
    def both() -> bool:
        figures.update(box.inspect(busy)["usage"])
        return figures["memoryPeak"] > 20 * MIB and figures["throttledMicroseconds"] > 0

    figures: dict[str, int] = {}
    wait_until(both, "it has used memory, and its quota of CPU time", timeout=30)
    assert (figures["memoryLimit"], figures["processesLimit"], figures["processes"]) == (50 * MIB, 20, 1)
    assert figures["memoryPeak"] <= 50 * MIB and 0 < figures["memory"] <= figures["memoryPeak"]
    assert figures["cpuMicroseconds"] > 0 and figures["oomKills"] == 0


@pytest.mark.parametrize("command", ["stats", "top"])
def test_they_continue_until_interrupted(box: Box, busy: str, command: str) -> None:
    """On a terminal each table replaces the one before."""
    master, slave = pty.openpty()
    words = [runtime_path(), "box", command, busy]
    process = subprocess.Popen(words, env=box.environment, stdin=slave, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    shown = b""
    while shown.count(b"\x1b[H\x1b[2J") < 3:
        shown += os.read(master, 4096)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=scaled(SECONDS))
    os.close(master)
    # Both are 130 for a shell. Without a snapshot, Python handles the signal and exits.
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT) and said == b""
    tables = shown.split(b"\x1b[H\x1b[2J")[1:3]
    assert all(b"busy" in one if command == "stats" else b"while :; do :; done" in one for one in tables)

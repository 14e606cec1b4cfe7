"""The foreground of `run`: exit statuses, signals, and the relay between two terminals.

It takes over the signals of its process, so every test starts a new one.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]

# Starts its arguments under the foreground, on a new terminal if the first is "terminal".
DRIVER = """
import fcntl, os, sys, termios
from ocipy.host.console import take_terminal
from ocipy.operations.foreground import Foreground
from ocipy.linux import _kernel

foreground = Foreground(subreaper=True)
foreground.catch_signals()
master = peer = -1
if sys.argv[1] == "terminal":
    master, peer = os.openpty()
    take_terminal(master)
pid = os.fork()
if pid == 0:
    _kernel.reset_signals()
    os.setsid()
    if peer >= 0:
        for fd in (0, 1, 2):
            os.dup2(peer, fd)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.closerange(3, 100)
    os.execvp(sys.argv[2], sys.argv[2:])
if peer >= 0:
    os.close(peer)
status = foreground.wait(pid, _kernel.pidfd_open(pid, 0), master)
sys.exit(status)
"""


def arguments(kind: str, script: str) -> list[str]:
    return [sys.executable, "-c", DRIVER, kind, "sh", "-c", script]


def run(script: str, kind: str = "plain", **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(arguments(kind, script), cwd=TOP, capture_output=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def wait_for(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    """Read the process's output until the word is in it."""
    assert process.stdout is not None
    seen = b""
    while word not in seen:
        part = os.read(process.stdout.fileno(), 4096)
        assert part, seen
        seen += part
    return seen


@pytest.mark.parametrize("kind", ["plain", "terminal"])
@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_status(kind: str, script: str, status: int) -> None:
    assert run(script, kind, stdin=subprocess.DEVNULL).returncode == status


def test_without_a_terminal_the_streams_are_the_callers() -> None:
    result = run("cat; echo error >&2", input=b"hello\n")
    assert (result.stdout, result.stderr) == (b"hello\n", b"error\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGTSTP])
def test_signals_are_passed_on(number: signal.Signals) -> None:
    script = f"trap 'echo got; exit 9' {number.value}; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen(arguments("plain", script), cwd=TOP, stdout=subprocess.PIPE) as process:
        wait_for(process, b"ready")
        process.send_signal(number)
        wait_for(process, b"got")
        assert process.wait(60) == 9


def test_signals_that_are_not() -> None:
    script = "trap 'echo got' URG WINCH CHLD; echo ready; while read line; do echo line; done"
    with subprocess.Popen(
        arguments("plain", script), cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        wait_for(process, b"ready\n")
        for number in (signal.SIGURG, signal.SIGWINCH, signal.SIGCHLD):
            process.send_signal(number)
        time.sleep(0.2)
        assert process.communicate(b"x\n", 60)[0] == b"line\n"


def test_orphans_are_reaped() -> None:
    """The foreground adopts the orphaned grandchild, whose end does not end the wait."""
    script = "(sleep 0.1; exit 3) & exec sh -c 'sleep 0.5; cat /proc/$PPID/task/$PPID/children; exit 4'"
    result = run(script, stdin=subprocess.DEVNULL)
    assert result.returncode == 4
    assert len(result.stdout.split()) == 1


def test_all_output_of_a_terminal_arrives_though_the_process_has_ended() -> None:
    result = run("seq 1 20000", "terminal", stdin=subprocess.DEVNULL)
    assert result.stdout.split() == [b"%d" % number for number in range(1, 20001)]


def test_a_slow_reader_gets_it_all() -> None:
    with subprocess.Popen(
        arguments("terminal", "seq 1 20000"), cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        time.sleep(0.5)
        output, _ = process.communicate(timeout=60)
    assert output.split()[-1] == b"20000"
    assert len(output.split()) == 20000


def test_a_reader_that_goes_away_does_not_end_the_container() -> None:
    with subprocess.Popen(
        arguments("terminal", "seq 1 20000; exit 5"), cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 5


def test_an_orphan_that_keeps_writing_does_not_delay_the_end() -> None:
    """The process has left an orphan on its terminal, for which we do not wait."""
    script = "trap '' HUP; (yes & echo $! >&0); exit 5"
    with subprocess.Popen(
        arguments("terminal", script), cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        output, _ = process.communicate(timeout=30)
    # yes ends by EIO once the master is closed.
    assert process.returncode == 5
    assert len(output) < 4_000_000


def test_a_stuck_reader_does_not_delay_the_end() -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        arguments("terminal", "seq 1 100000"), cwd=TOP, stdin=subprocess.DEVNULL, stdout=writer
    ) as process:
        os.close(writer)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        # The terminal closes when we end, so the process that still writes to it ends too.
        assert process.wait(60) in (0, 128 + signal.SIGTERM)
    os.close(reader)


def test_much_input_to_a_process_that_does_not_read() -> None:
    """Neither side may block the other: input waits while output continues."""
    result = run("echo one; sleep 0.5; echo two", "terminal", input=b"x" * 1_000_000)
    assert b"one" in result.stdout
    assert b"two" in result.stdout


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("cat", b""),
        ("cat; echo; cat; echo end", b"END"),
        ("sleep 0.3; cat; echo end", b"END"),
        ('while read -r line; do echo "<$line>"; done; echo "$line"; echo end', b"END"),
    ],
)
@pytest.mark.parametrize("given", [b"", b"a line\n", b"a line\nno newline", b"x\n" * 60_000])
def test_the_process_sees_end_of_file_without_a_terminal(script: str, said: bytes, given: bytes) -> None:
    """cron and CI have no terminal, and a reader of the container's would wait forever (script(1) does the same)."""
    result = run(script, "terminal", input=given)
    assert result.returncode == 0
    assert result.stdout.rstrip().endswith(said.lower())
    assert result.stdout.count(b"x") >= given.count(b"x")
    assert b"\x04" not in result.stdout


def test_in_raw_mode_the_end_of_the_input_is_one_character() -> None:
    """For a line editor that waits for it; who reads keys does not get it over and over."""
    script = "stty raw -echo min 1; (sleep 2; kill $$) & exec cat"
    result = run(script, "terminal", stdin=subprocess.DEVNULL)
    # What came before it was raw is a byte as well: the mark of an end in the terminal's buffer (n_tty).
    assert result.stdout.replace(b"\0", b"") == b"\x04"
    assert result.returncode == 143


def test_no_end_is_sent_where_the_input_goes_on() -> None:
    with subprocess.Popen(
        arguments("terminal", "cat; echo ended"), cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"first\n")
        process.stdin.flush()
        assert b"ended" not in wait_for(process, b"first\nfirst\n")
        time.sleep(0.5)
        output, _ = process.communicate(b"second\n", 60)
    assert output.endswith(b"ended\n")


def test_the_callers_pipe_is_not_made_nonblocking() -> None:
    reader, writer = os.pipe()
    subprocess.run(
        arguments("terminal", "echo x"), cwd=TOP, stdin=subprocess.DEVNULL, stdout=writer, check=True, timeout=60
    )
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)


class Terminal:
    """The user's terminal, and the foreground running on it."""

    def __init__(self, script: str) -> None:
        self.master, self.peer = os.openpty()
        termios.tcsetwinsize(self.peer, (33, 99))
        self.before = termios.tcgetattr(self.peer)
        self.process = subprocess.Popen(
            arguments("terminal", script), cwd=TOP, stdin=self.peer, stdout=self.peer, stderr=self.peer,
            start_new_session=True,
        )  # fmt: skip

    def read_until(self, word: bytes) -> bytes:
        seen = b""
        while word not in seen:
            assert select.select([self.master], [], [], 30)[0], seen
            seen += os.read(self.master, 4096)
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.peer)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for terminal in made:
        terminal.close()


def test_relay_between_terminals(terminals: list[Terminal]) -> None:
    terminal = Terminal('stty size; echo ready; read line; echo "got $line"; exit 6')
    terminals.append(terminal)
    assert b"33 99" in terminal.read_until(b"ready\r\n")
    during = termios.tcgetattr(terminal.peer)
    assert not during[3] & (termios.ICANON | termios.ECHO | termios.ISIG), "raw while the container runs"
    os.write(terminal.master, b"hello\r")
    seen = terminal.read_until(b"got hello\r\n")
    assert seen.startswith(b"hello\r\n"), "the container's terminal echoes"
    assert terminal.process.wait(60) == 6
    assert termios.tcgetattr(terminal.peer) == terminal.before


def test_size_is_forwarded(terminals: list[Terminal]) -> None:
    terminal = Terminal("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done")
    terminals.append(terminal)
    terminal.read_until(b"ready")
    termios.tcsetwinsize(terminal.peer, (12, 34))
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.read_until(b"12 34")
    assert terminal.process.wait(60) == 0


def test_keys_make_signals_inside_not_outside(terminals: list[Terminal]) -> None:
    terminal = Terminal("trap 'echo interrupted; exit 8' INT; echo ready; while :; do sleep 0.01; done")
    terminals.append(terminal)
    terminal.read_until(b"ready")
    os.write(terminal.master, b"\x03")
    terminal.read_until(b"interrupted")
    assert terminal.process.wait(60) == 8


def test_the_users_terminal_is_restored_when_the_process_is_killed(terminals: list[Terminal]) -> None:
    terminal = Terminal("echo ready; kill -9 $$")
    terminals.append(terminal)
    assert terminal.process.wait(60) == 137
    assert termios.tcgetattr(terminal.peer) == terminal.before

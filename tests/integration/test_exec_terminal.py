"""exec with a terminal: through an engine's console socket, and in the foreground."""

from __future__ import annotations

import json
import os
import signal
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, descendants, open_files, process_state, wait_until
from tests.harness.terminal import Console, UserTerminal, read_until

MakeContainer = Callable[..., Container]
Detached = Callable[..., int]
FAILED = 255
LOOK = "tty; for n in 0 1 2; do readlink /proc/self/fd/$n; done; stat -c %u:%g $(tty); ls -1 /dev/pts; echo end"


@pytest.fixture
def user(one: Container) -> Iterator[Callable[..., UserTerminal]]:
    """Executes a script on a terminal, as a user does."""
    made: list[UserTerminal] = []

    def make(script: str, *flags: str) -> UserTerminal:
        made.append(UserTerminal(one.runtime, "exec", "--tty", *flags, one.id, "sh", "-c", script))
        return made[-1]

    yield make
    for terminal in made:
        terminal.close()


@pytest.mark.smoke
def test_terminal_for_an_engine(one: Container, console: Console, detached: Detached) -> None:
    flags = ("--tty", "--console-socket", console.path, "--user", "1000:1000")
    pid = detached(one, "sh", "-c", LOOK + "; exec sleep 1000", flags=flags)
    master = console.accept()
    lines = read_until(master, "end\n").splitlines()
    assert lines == [*["/dev/pts/0"] * 4, "1000:5", "0", "ptmx", "end"]
    wait_until(lambda: set(open_files(pid)) == {0, 1, 2})
    assert os.stat(f"/proc/{pid}/fd/0").st_rdev == os.stat(f"/proc/{one.pid}/root/dev/pts/0").st_rdev
    assert not Path(f"/proc/{one.pid}/root/dev/console").exists(), "that is the first process's"


def test_process_object_with_a_terminal(one: Container, console: Console, detached: Detached) -> None:
    """conmon 2.1.6 gives --tty as well."""
    path = one.bundle.path / "process.json"
    process = {"cwd": "/", "terminal": True, "args": ["sh", "-c", "stty size; cat"], "env": ["PATH=/bin"]}
    path.write_text(json.dumps({**process, "consoleSize": {"height": 40, "width": 120}}))
    file = one.bundle.path / "pid"
    for tty in ([], ["--tty"]):
        flags: list[str | Path] = ["--pid-file", file, "--process", path, "--detach", "--console-socket", console.path]
        one.exec(flags=[*flags, *tty]).ok()
        master = console.accept()
        assert read_until(master, "\n") == "40 120\n"
        os.close(master)
        console.master = -1
        os.waitpid(int(file.read_text()), 0)


def test_a_second_terminal_next_to_the_containers(
    container: MakeContainer, bundle: Bundle, console: Console, detached: Detached
) -> None:
    bundle.process["terminal"] = True
    one = container(bundle.args("sleep", "1000"), "--console-socket", console.path).start()
    os.close(console.accept())
    detached(one, "sh", "-c", LOOK + "; exec sleep 1000", flags=("-t", "--console-socket", console.path))
    assert read_until(console.accept(), "end\n").splitlines()[0] == "/dev/pts/1"
    assert one.sh("tty").status == 1, "without --tty there is no terminal"


def test_user_namespace(container: MakeContainer, bundle: Bundle, console: Console, detached: Detached) -> None:
    bundle.user_namespace()
    one = container(bundle.args("sleep", "1000")).start()
    flags = ("--tty", "--console-socket", console.path, "--user", "1000:1000")
    detached(one, "sh", "-c", LOOK + "; exec sleep 1000", flags=flags)
    assert "1000:5" in read_until(console.accept(), "end\n")


def test_terminal_and_socket_go_together(one: Container, console: Console) -> None:
    words = ("cannot allocate tty if", "will detach without setting console socket")
    one.exec("true", flags=["--tty", "--detach"]).fails(*words, status=FAILED)
    words = ("cannot use console socket if", "will not detach or allocate tty")
    one.exec("true", flags=["--detach", "--console-socket", console.path]).fails(*words, status=FAILED)
    one.exec("true", flags=["--tty", "--console-socket", console.path]).fails(*words, status=FAILED)


def test_a_socket_that_nobody_listens_at(one: Container, work: Path) -> None:
    file = work / "pid"
    flags: list[str | Path] = ["--tty", "--detach", "--pid-file", file, "--console-socket", work / "nothing"]
    one.exec("sleep", "1000", flags=flags).fails(status=FAILED)
    assert not file.exists()


def test_no_devpts(container: MakeContainer, bundle: Bundle, console: Console) -> None:
    one = container(bundle.without_mount("/dev/pts").args("sleep", "1000")).start()
    one.exec("true", flags=["--tty", "--detach", "--console-socket", console.path]).fails(status=FAILED)


@pytest.mark.smoke
def test_foreground(user: Callable[..., UserTerminal]) -> None:
    one = user('tty; stty size; echo ready; read line; echo "got $line"; exit 6')
    assert read_until(one.master, "ready\n").splitlines()[:2] == ["/dev/pts/0", "33 99"]
    os.write(one.master, b"hello\r")
    assert read_until(one.master, "got hello\n") == "hello\ngot hello\n"
    assert one.running.wait().status == 6
    assert termios.tcgetattr(one.peer) == one.before


def test_foreground_window_size_and_keys(user: Callable[..., UserTerminal]) -> None:
    one = user("trap 'stty size' WINCH; trap 'echo interrupted; exit 8' INT; echo ready; while :; do sleep 0.02; done")
    read_until(one.master, "ready\n")
    termios.tcsetwinsize(one.peer, (12, 34))
    one.running.signal(signal.SIGWINCH)
    read_until(one.master, "12 34\n")
    os.write(one.master, b"\x03")
    read_until(one.master, "interrupted\n")
    assert one.running.wait().status == 8


def test_foreground_signal_restores_the_terminal(user: Callable[..., UserTerminal]) -> None:
    one = user("trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done")
    read_until(one.master, "ready\n")
    one.running.signal(signal.SIGTERM)
    assert one.running.wait().status == 9
    assert termios.tcgetattr(one.peer) == one.before


def test_foreground_command_that_is_missing(one: Container) -> None:
    terminal = UserTerminal(one.runtime, "exec", "-t", one.id, "no-such-command")
    assert "executable file not found in $PATH" in read_until(terminal.master, "PATH")
    assert terminal.running.wait().status == FAILED
    assert termios.tcgetattr(terminal.peer) == terminal.before
    terminal.close()


def test_cri_o_streams_in_the_foreground(one: Container) -> None:
    """CRI-O's terminal as standard streams, and `terminal` in the process object, without a flag."""
    path = one.bundle.path / "process.json"
    script = "tty; read line; echo got $line; kill -9 $$"
    process = {"cwd": "/", "terminal": True, "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
    path.write_text(json.dumps(process))
    terminal = UserTerminal(one.runtime, "exec", "--process", path, one.id)
    assert read_until(terminal.master, "\n") == "/dev/pts/0\n"
    os.write(terminal.master, b"hello\r")
    read_until(terminal.master, "got hello\n")
    assert terminal.running.wait().status == 128 + signal.SIGKILL
    terminal.close()


@pytest.mark.ocipy_only("runc fails if the user has no terminal")
def test_foreground_for_a_user_without_a_terminal(one: Container) -> None:
    result = one.sh("tty; read line; echo got $line", "--tty", stdin=b"hello\n", start_new_session=True).ok()
    assert {"/dev/pts/0", "got hello"} <= set(result.lines)


@pytest.mark.ocipy_only("runc hangs")
@pytest.mark.parametrize("given", [None, b"", b"no newline"])
def test_the_end_of_an_input_without_a_terminal(one: Container, given: bytes | None) -> None:
    """exec -t … </dev/null, as in cron and CI."""
    options = {} if given is None else {"stdin": given}
    result = one.sh("cat; cat; echo; echo ended", "--tty", start_new_session=True, timeout=15, **options).ok()
    assert result.lines[-1] == "ended"
    assert result.lines[0] == (given or b"").decode() * 2 or not given


def test_the_terminal_hangs_up_when_the_runtime_dies(one: Container) -> None:
    """If it is killed, its process gets a hang-up (SIGHUP) from the terminal, as with any shell."""
    terminal = UserTerminal(one.runtime, "exec", "-t", one.id, "sh", "-c", "echo ready; exec sleep 1000")
    read_until(terminal.master, "ready\n")
    (pid,) = descendants(terminal.running.pid)
    terminal.running.signal(signal.SIGKILL)
    terminal.running.wait()
    wait_until(lambda: process_state(pid) in ("Z", ""))
    os.waitpid(pid, 0)
    terminal.close()

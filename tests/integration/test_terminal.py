"""process.terminal: with a console socket, and for `run` in the foreground on the user's terminal."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, open_files, proc_mounts, wait_until
from tests.harness.terminal import Console, UserTerminal, read_until

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]


@pytest.fixture
def terminal(bundle: Bundle) -> Bundle:
    bundle.process["terminal"] = True
    return bundle


LOOK = """
tty; stty size; for n in 0 1 2; do readlink /proc/self/fd/$n; done
echo console $(stat -c %t:%T /dev/console) $(stat -c %t:%T $(tty))
echo owner $(stat -c %u:%g $(tty)); ls -l /dev/ptmx; cat /proc/self/stat | cut -d' ' -f7; ls -1 /dev/pts; echo end
"""


@pytest.mark.smoke
def test_terminal_as_seen_from_inside(container: MakeContainer, terminal: Bundle, console: Console) -> None:
    terminal.process["consoleSize"] = {"height": 40, "width": 120}
    terminal.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(terminal, "--console-socket", console.path, sh=LOOK + "exec sleep 1000")
    master = console.accept()
    one.start()
    lines = read_until(master, "end\n").splitlines()
    assert lines[:5] == ["/dev/pts/0", "40 120", "/dev/pts/0", "/dev/pts/0", "/dev/pts/0"]
    assert lines[5] == "console 88:0 88:0"
    assert lines[6] == "owner 1000:5"
    assert lines[7].endswith("/dev/ptmx -> pts/ptmx")
    assert int(lines[8]) == 0x8800, "the controlling terminal"
    assert lines[9:] == ["0", "ptmx", "end"]


@pytest.mark.ocipy_only("runc names the multiplexer")
def test_message_names_the_terminal(container: MakeContainer, terminal: Bundle, console: Console) -> None:
    container(terminal.args("sleep", "1000"), "--console-socket", console.path)
    console.accept()
    assert console.name == b"/dev/pts/0"


def test_waiting_process_holds_no_master(container: MakeContainer, terminal: Bundle, console: Console) -> None:
    """Otherwise closing the engine's end would not hang up, and the container could read what is typed."""
    one = container(terminal.args("sleep", "1000"), "--console-socket", console.path)
    console.accept()
    assert not [path for path in open_files(one.pid).values() if "ptmx" in path]
    one.start()
    wait_until(lambda: set(open_files(one.pid)) == {0, 1, 2})


def test_terminal_is_one_of_the_containers_devpts(container: MakeContainer, terminal: Bundle, console: Console) -> None:
    before = sorted(os.listdir("/dev/pts"))
    one = container(terminal.args("sleep", "1000"), "--console-socket", console.path)
    console.accept()
    assert sorted(os.listdir("/dev/pts")) == before
    (mount,) = (mount for mount in proc_mounts(one.pid) if mount.point == "/dev/console")
    assert (mount.fstype, mount.root) == ("devpts", "/0")


def test_input_and_output_pass_through_the_terminal(
    container: MakeContainer, terminal: Bundle, console: Console
) -> None:
    one = container(terminal, "--console-socket", console.path, sh="read line; echo got $line; exec sleep 1000")
    master = console.accept()
    one.start()
    os.write(master, b"hello\n")
    assert read_until(master, "got hello\n") == "hello\ngot hello\n"


def test_the_terminal_hangs_up_when_the_process_ends(
    container: MakeContainer, terminal: Bundle, console: Console
) -> None:
    one = container(terminal, "--console-socket", console.path, sh="echo last")
    master = console.accept()
    one.start()
    read_until(master, "last\n")
    with pytest.raises(OSError, match="Input/output error"):
        os.read(master, 1)


def test_create_does_not_wait_for_the_engine(
    runtime: Runtime, terminal: Bundle, new_id: NewId, console: Console
) -> None:
    """containerd accepts after create has returned, and without a time limit."""
    id = new_id()
    runtime.create(terminal.args("true"), id, "--console-socket", console.path, timeout=10).ok()
    console.accept()
    runtime.delete(id, force=True).ok()


@pytest.mark.ocipy_only("runc accepts no path of more than 107 bytes")
def test_long_path(container: MakeContainer, terminal: Bundle, work: Path) -> None:
    """buildah's socket is below the bundle, and its path may exceed the 107 bytes of unix(7)."""
    directory = work / ("a" * 100) / ("b" * 100)
    directory.mkdir(parents=True)
    console = Console(directory / "console.sock")
    one = container(terminal.args("sleep", "1000"), "--console-socket", console.path)
    console.accept()
    one.end()
    console.close()


def test_run_detached(runtime: Runtime, terminal: Bundle, new_id: NewId, console: Console) -> None:
    id = new_id()
    runtime.run(terminal.sh("tty; exec sleep 1000"), id, "--detach", "--console-socket", console.path).ok()
    assert read_until(console.accept(), "\n") == "/dev/pts/0\n"
    runtime.delete(id, force=True).ok()


def test_user_namespace(container: MakeContainer, terminal: Bundle, console: Console) -> None:
    terminal.user_namespace()
    terminal.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(terminal, "--console-socket", console.path, sh=LOOK + "exec sleep 1000")
    master = console.accept()
    one.start()
    lines = read_until(master, "end\n").splitlines()
    assert lines[0] == "/dev/pts/0"
    assert lines[6] == "owner 1000:5"


@pytest.mark.parametrize("terminal_wanted", [True, False])
def test_terminal_and_socket_go_together(
    runtime: Runtime, bundle: Bundle, new_id: NewId, console: Console, terminal_wanted: bool
) -> None:
    bundle.process["terminal"] = terminal_wanted
    if terminal_wanted:
        result = runtime.create(bundle.args("true"), new_id())
        result.fails("cannot allocate tty if", "will detach without setting console socket")
    else:
        result = runtime.create(bundle.args("true"), new_id(), "--console-socket", console.path)
        result.fails("cannot use console socket if", "will not detach or allocate tty")
    assert runtime.ids() == []


def test_socket_in_the_foreground(runtime: Runtime, terminal: Bundle, new_id: NewId, console: Console) -> None:
    result = runtime.run(terminal.args("true"), new_id(), "--console-socket", console.path)
    result.fails("cannot use console socket if", "will not detach or allocate tty")
    assert runtime.ids() == []


def test_a_socket_that_nobody_listens_at(runtime: Runtime, terminal: Bundle, new_id: NewId, work: Path) -> None:
    runtime.create(terminal.args("true"), new_id(), "--console-socket", work / "nothing").fails()
    assert runtime.ids() == []


def test_no_devpts(runtime: Runtime, terminal: Bundle, new_id: NewId, console: Console) -> None:
    terminal.without_mount("/dev/pts")
    runtime.create(terminal.args("true"), new_id(), "--console-socket", console.path).fails()
    assert runtime.ids() == []


@pytest.mark.ocipy_only("other runtimes only name the path")
def test_no_devpts_names_the_field(runtime: Runtime, terminal: Bundle, new_id: NewId, console: Console) -> None:
    terminal.without_mount("/dev/pts")
    result = runtime.create(terminal.args("true"), new_id(), "--console-socket", console.path)
    result.fails("/process/terminal", "devpts")


def test_a_fake_devpts(runtime: Runtime, terminal: Bundle, new_id: NewId, console: Console) -> None:
    """A file of that name in the image is not opened as a terminal."""
    terminal.without_mount("/dev/pts", "/dev")
    (terminal.rootfs / "dev/pts").mkdir()
    os.mkfifo(terminal.rootfs / "dev/pts/ptmx")
    runtime.create(terminal.args("true"), new_id(), "--console-socket", console.path, timeout=10).fails()
    assert runtime.ids() == []


@pytest.mark.parametrize("kind", ["link", "dangling link"])
def test_cve_2025_52565_console_that_is_a_link(
    runtime: Runtime, terminal: Bundle, new_id: NewId, console: Console, work: Path, kind: str
) -> None:
    """With the image's /dev: the target of /dev/console is neither covered nor created."""
    terminal.without_mount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    terminal.config["mounts"].append({"destination": "/dev/pts", "type": "devpts", "source": "devpts"})
    target = terminal.rootfs / "etc/target"
    if kind == "link":
        target.write_text("before")
    (terminal.rootfs / "dev/console").symlink_to("/etc/target")
    terminal.config["root"]["readonly"] = False
    runtime.create(terminal.args("true"), new_id(), "--console-socket", console.path).fails()
    assert target.exists() == (kind == "link")
    assert runtime.ids() == []


def test_a_console_in_the_image(container: MakeContainer, terminal: Bundle, console: Console) -> None:
    terminal.without_mount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    terminal.config["mounts"].append({"destination": "/dev/pts", "type": "devpts", "source": "devpts"})
    (terminal.rootfs / "dev/console").write_text("")
    one = container(terminal, "--console-socket", console.path, sh="stat -c %F /dev/console; exec sleep 1000").start()
    assert read_until(console.accept(), "\n") == "character special file\n"
    one.end()


@pytest.fixture
def user(runtime: Runtime, terminal: Bundle, new_id: NewId) -> Iterator[Callable[[str], UserTerminal]]:
    made: list[UserTerminal] = []

    def make(script: str) -> UserTerminal:
        made.append(UserTerminal(runtime, "run", "--bundle", terminal.sh(script).write().parent, new_id()))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.smoke
def test_foreground(user: Callable[[str], UserTerminal]) -> None:
    one = user('tty; stty size; echo ready; read line; echo "got $line"; exit 6')
    assert read_until(one.master, "ready\n").splitlines()[:2] == ["/dev/pts/0", "33 99"]
    raw = termios.tcgetattr(one.peer)
    assert not raw[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    os.write(one.master, b"hello\r")
    assert read_until(one.master, "got hello\n") == "hello\ngot hello\n"
    assert one.running.wait().status == 6
    assert termios.tcgetattr(one.peer) == one.before


def test_foreground_window_size(user: Callable[[str], UserTerminal]) -> None:
    one = user("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done")
    read_until(one.master, "ready\n")
    termios.tcsetwinsize(one.peer, (12, 34))
    one.running.signal(signal.SIGWINCH)
    read_until(one.master, "12 34\n")
    assert one.running.wait().status == 0


def test_foreground_keys_are_for_the_container(user: Callable[[str], UserTerminal]) -> None:
    one = user("trap 'echo interrupted; exit 8' INT; echo ready; while :; do sleep 0.02; done")
    read_until(one.master, "ready\n")
    os.write(one.master, b"\x03")
    read_until(one.master, "interrupted\n")
    assert one.running.wait().status == 8


def test_foreground_signal_restores_the_terminal(user: Callable[[str], UserTerminal]) -> None:
    one = user("trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done")
    read_until(one.master, "ready\n")
    one.running.signal(signal.SIGTERM)
    assert one.running.wait().status == 9
    assert termios.tcgetattr(one.peer) == one.before


def test_foreground_much_output(user: Callable[[str], UserTerminal]) -> None:
    one = user("seq 1 30000; echo end")
    assert read_until(one.master, "end\n").split() == [*(str(number) for number in range(1, 30001)), "end"]
    assert one.running.wait().status == 0


def test_foreground_command_that_is_missing(runtime: Runtime, terminal: Bundle, new_id: NewId) -> None:
    """The user's terminal is restored even if no container was created."""
    one = UserTerminal(runtime, "run", "--bundle", terminal.args("no-such-command").write().parent, new_id())
    assert "executable file not found in $PATH" in read_until(one.master, "PATH")
    assert one.running.wait().status == 1
    assert termios.tcgetattr(one.peer) == one.before
    one.close()


@pytest.mark.ocipy_only("runc fails if the user has no terminal")
def test_foreground_for_a_user_without_a_terminal(runtime: Runtime, terminal: Bundle, new_id: NewId) -> None:
    """As in a script or CI: input and output are still copied."""
    result = runtime.run(
        terminal.sh("tty; read line; echo got $line"), new_id(), stdin=b"hello\n", start_new_session=True
    ).ok()
    assert {"/dev/pts/0", "got hello"} <= set(result.lines)


@pytest.mark.ocipy_only("runc hangs")
def test_the_end_of_an_input_without_a_terminal(runtime: Runtime, terminal: Bundle, new_id: NewId) -> None:
    result = runtime.run(terminal.sh("cat; echo ended"), new_id(), start_new_session=True, timeout=15).ok()
    assert result.lines == ["ended"]


def test_foreground_output_to_a_file(runtime: Runtime, terminal: Bundle, new_id: NewId) -> None:
    """A newline stays a newline: the user's terminal, if any, turns it into CR NL."""
    master, peer = os.openpty()
    result = runtime.run(terminal.sh("tty; echo a line"), new_id(), stdin=peer, start_new_session=True).ok()
    os.close(master)
    os.close(peer)
    assert result.raw_stdout == b"/dev/pts/0\na line\n"

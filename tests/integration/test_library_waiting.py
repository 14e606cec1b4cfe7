"""The library's timeouts, exit statuses and terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ocipy
from tests.harness import Bundle, Runtime
from tests.harness.host import Host, wait_until
from tests.harness.terminal import read_until

pytestmark = pytest.mark.ocipy_only(reason="its own library")

NewId = Callable[[], str]
Begin = Callable[..., ocipy.Container]
TOP = Path(__file__).resolve().parents[2]
# Long enough for the first lines of a script on a loaded machine.
SHORT = 3.0
DEAF = "trap '' TERM INT HUP; echo so far; while :; do sleep 1; done"


@pytest.fixture
def library(runtime: Runtime) -> ocipy.Runtime:
    """The library on the runtime under test and its state directory."""
    return ocipy.Runtime(runtime.root, executable=runtime.path)


@pytest.fixture
def begin(library: ocipy.Runtime, bundle: Bundle, new_id: NewId, work: Path) -> Begin:
    """Create and start a container that runs a script; the runtime fixture removes it."""

    def begin(script: str = "exec sleep 1000") -> ocipy.Container:
        bundle.sh(script).write()
        with (work / "output").open("w") as output:
            container = library.create(new_id(), bundle.path, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        container.start()
        return container

    return begin


def end(container: ocipy.Container) -> None:
    pid = container.state().pid
    container.delete(force=True)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("keep", [False, True])
def test_run_is_killed_when_its_time_is_up(
    library: ocipy.Runtime, runtime: Runtime, bundle: Bundle, new_id: NewId, keep: bool
) -> None:
    """Even a process that ignores signals is killed. Its output is kept."""
    bundle.sh(DEAF).write()
    id = new_id()
    with pytest.raises(ocipy.TimeoutExpired) as caught:
        library.run(id, bundle.path, stdin=subprocess.DEVNULL, capture_output=True, timeout=SHORT, keep=keep)
    assert caught.value.stdout == b"so far\n"
    assert runtime.ids() == ([id] if keep else [])
    if keep:
        assert library.container(id).state().status == "stopped"
        library.container(id).delete()


def test_run_in_time(library: ocipy.Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.sh("cat; exit 3").write()
    done = library.run(new_id(), bundle.path, input=b"in", capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in", b"")
    bundle.args("/no/such/program").write()
    with pytest.raises(ocipy.Error, match="no such file") as caught:
        library.run(new_id(), bundle.path, capture_output=True, timeout=60)
    assert not isinstance(caught.value, ocipy.TimeoutExpired)


def test_a_create_that_hangs_is_undone(library: ocipy.Runtime, runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}
    bundle.args("true").write()
    with pytest.raises(ocipy.TimeoutExpired):
        library.run(new_id(), bundle.path, stdin=subprocess.DEVNULL, timeout=SHORT)
    assert runtime.ids() == []


def test_another_container_with_the_id_stays_untouched(library: ocipy.Runtime, begin: Begin, bundle: Bundle) -> None:
    container = begin()
    with pytest.raises(ocipy.Error):
        library.run(container.id, bundle.path, stdin=subprocess.DEVNULL, timeout=0.0)
    assert container.state().status == "running"
    end(container)


def test_a_paused_run_is_killed_too(library: ocipy.Runtime, runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    Path(library.root).mkdir()
    bundle.sh(DEAF).write()
    id = new_id()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(library.run, id, bundle.path, stdin=subprocess.DEVNULL, capture_output=True, timeout=SHORT)
        wait_until(lambda: [each.status for each in library.containers()] == ["running"], "the start")
        library.container(id).pause()
        with pytest.raises(ocipy.TimeoutExpired):
            call.result()
    assert runtime.ids() == []


def test_exec_is_killed_when_its_time_is_up(begin: Begin) -> None:
    container = begin()
    with pytest.raises(ocipy.TimeoutExpired) as caught:
        container.exec(["sh", "-c", DEAF], stdin=subprocess.DEVNULL, capture_output=True, timeout=SHORT)
    assert caught.value.stdout == b"so far\n"
    assert container.state().status == "running"
    done = container.exec(["sh", "-c", "cat; exit 3"], input=b"in", capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, b"in")
    end(container)


def test_exec_in_a_paused_container_times_out(begin: Begin, host: Host) -> None:
    container = begin()
    container.pause()
    with pytest.raises(ocipy.TimeoutExpired):
        container.exec(["true"], stdin=subprocess.DEVNULL, timeout=SHORT, ignore_paused=True)
    # It was killed, and executes nothing. In a frozen v1 cgroup it dies after the thaw, and this process reaps it.
    container.resume()
    if host.cgroup != "v2":
        assert os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]) == -signal.SIGKILL
    assert container.processes() == (container.state().pid,)
    end(container)


def test_exec_on_a_terminal(begin: Begin) -> None:
    container = begin()
    script = "tty; read line; echo got $line; echo err >&2; exit 4"
    done = container.exec(["sh", "-c", script], tty=True, input=b"typed\n", capture_output=True)
    assert done.returncode == 4
    # The terminal echoes input immediately.
    assert sorted(done.stdout.splitlines()) == [b"/dev/pts/0", b"err", b"got typed", b"typed"]
    assert done.stderr == b""
    with pytest.raises(ValueError, match="tty"):
        container.exec(process={"args": ["true"], "cwd": "/"}, tty=True)
    end(container)


def test_run_on_a_terminal(library: ocipy.Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.process["terminal"] = True
    bundle.sh("tty; read line; echo got $line").write()
    done = library.run(new_id(), bundle.path, input=b"typed\n", capture_output=True)
    assert sorted(done.stdout.splitlines()) == sorted([b"/dev/pts/0", b"typed", b"got typed"])


def test_the_terminal_of_a_container_is_received(library: ocipy.Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.process["terminal"] = True
    bundle.sh("read line; echo got $line; read line").write()
    with ocipy.ConsoleSocket() as console:
        container = library.create(new_id(), bundle.path, console_socket=console)
        terminal = console.receive(timeout=60)
    with terminal:
        container.start()
        terminal.write(b"typed\n")
        read_until(terminal.fileno(), "got typed\n")
        end(container)


def test_a_process_that_is_not_waited_for(begin: Begin, work: Path) -> None:
    """Its exit status is known, and no other process needs to reap it."""
    container = begin()
    with (work / "out").open("w") as output:
        process = container.spawn(
            ["sh", "-c", "echo $X $PWD; exit 9"], env={"X": "1"}, cwd="/bin",
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    with process:
        assert process.wait(60) == 9
        assert process.wait(60) == 9
    assert (work / "out").read_text() == "1 /bin\n"
    with container.spawn(["sleep", "1000"], stdin=0, stdout=1, stderr=2) as process:
        assert process.pid in container.processes()
        with pytest.raises(ocipy.TimeoutExpired):
            process.wait(0.05)
        process.kill(signal.SIGKILL)
        assert process.wait(60) == 137
    with pytest.raises(ValueError, match="pipe"):
        container.spawn(["true"], stdout=subprocess.PIPE)
    with pytest.raises(ocipy.Error, match="executable file not found"):
        container.spawn(["nonsense"])
    end(container)


def test_a_process_on_a_terminal_that_is_received(begin: Begin) -> None:
    container = begin()
    process = {"args": ["sh", "-c", "tty; exit 5"], "cwd": "/", "env": ["PATH=/bin"], "terminal": True}
    for arguments in ({"arguments": ["sh", "-c", "tty; exit 5"]}, {"process": process}):
        with ocipy.ConsoleSocket() as console:
            spawned = container.spawn(**arguments, console_socket=console)
            terminal = console.receive(timeout=60)
        with spawned, terminal:
            read_until(terminal.fileno(), "/dev/pts/0\n")
            assert spawned.wait(60) == 5
    end(container)


def test_the_exit_status_of_a_container_that_is_ours_to_reap(begin: Begin) -> None:
    """This process adopts orphans: the container's process is its child."""
    container = begin("sleep 1; exit 6")
    pid = container.state().pid
    with pytest.raises(ocipy.TimeoutExpired):
        container.wait(0.01)
    assert container.wait(60) == 6
    assert container.state().status == "stopped"
    # It was left to be reaped.
    assert container.wait() == 6
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    assert container.wait() is None
    container.delete()


def test_the_exit_status_of_someone_elses_container(begin: Begin, host: Host) -> None:
    """A new enough kernel reports it to processes other than the parent, once it is reaped."""
    container = begin("sleep 1000 & wait; exit 7")
    pid = container.state().pid
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import ocipy\n"
        "container = ocipy.Runtime(sys.argv[2]).container(sys.argv[3])\n"
        "print('waiting', flush=True)\nprint(container.wait(), flush=True)"
    )
    words = [sys.executable, "-c", program, str(TOP), container.runtime.root, container.id]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waiting\n"
        wait_until(lambda: holds_pidfd(waiting.pid), "the wait")
        container.kill("KILL")
        os.waitpid(pid, 0)
        expected = "137" if host.kernel >= (6, 15) else "None"
        assert waiting.stdout.readline() == expected + "\n"
    container.delete()


def holds_pidfd(pid: int) -> bool:
    names = [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    return any("pidfd" in os.readlink(name) for name in names if os.path.lexists(name))

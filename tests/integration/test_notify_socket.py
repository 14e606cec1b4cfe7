"""NOTIFY_SOCKET: the container process's readiness reaches the service manager that started the runtime."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Runtime
from tests.harness.host import scaled, wait_until

SCRIPT = "env | grep NOTIFY_SOCKET; mount | grep /run/notify; echo up; sleep 1000"


class Manager:
    """A service manager: it collects the messages, except barriers, which it answers as systemd does."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(scaled(20))

    def told(self) -> dict[str, str]:
        """The variables of all messages, until READY and MAINPID have arrived."""
        found: dict[str, str] = {}
        while not found.keys() >= {"READY", "MAINPID"}:
            data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            for fd in fds:
                os.close(fd)
            found |= dict(line.split("=", 1) for line in data.decode().splitlines() if line)
        found.pop("BARRIER", None)
        return found

    def answer_barriers(self) -> None:
        """Receive pending messages, and close their file descriptors."""
        self.socket.settimeout(0.2)
        try:
            while True:
                for fd in socket.recv_fds(self.socket, 4096, 4)[1]:
                    os.close(fd)
        except TimeoutError:
            pass


@pytest.fixture
def manager(work: Path) -> Iterator[Manager]:
    made = Manager(work / "manager.sock")
    yield made
    made.socket.close()


def say(pid: int, message: bytes) -> None:
    """Send a message as the container's process would, through its path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.sendto(message, f"/proc/{pid}/root/run/notify/notify.sock")


def listening(runtime: Runtime, id: str) -> bool:
    return id in runtime.ids() and (runtime.root / id / "notify/notify.sock").exists()


def test_start_waits_until_the_process_is_ready(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], manager: Manager
) -> None:
    id = new_id()
    created = runtime.create(bundle.sh(SCRIPT), id, env=manager.environment).ok()
    pid = runtime.state(id)["pid"]
    starting = runtime.begin("start", id, env=manager.environment)
    wait_until(lambda: "up" in created.stdout_path.read_text(), "the process's words")
    output = created.stdout_path.read_text()
    assert "NOTIFY_SOCKET=/run/notify/notify.sock" in output
    (mount,) = [line for line in output.splitlines() if " on /run/notify " in line]
    for option in ("ro", "nosuid", "nodev", "noexec"):
        assert option in mount.split("(")[1]
    say(pid, b"STATUS=not yet")
    assert starting.process.poll() is None
    say(pid, b"READY=1")
    told = manager.told()
    manager.answer_barriers()
    starting.wait().ok()
    assert told == {"READY": "1", "MAINPID": str(pid)}
    assert runtime.state(id)["status"] == "running"
    runtime.delete(id, force=True).ok()
    os.waitpid(pid, 0)


@pytest.mark.ocipy_only(reason="runc waits forever if nobody reaps the process")
def test_start_does_not_wait_for_a_process_that_has_ended(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], manager: Manager
) -> None:
    id = new_id()
    runtime.create(bundle.sh("sleep 0.3"), id, env=manager.environment).ok()
    pid = runtime.state(id)["pid"]
    runtime.start(id, env=manager.environment).ok()
    os.waitpid(pid, 0)
    runtime.delete(id).ok()


def test_run_in_the_background_waits_and_in_the_foreground_is_the_main_process(
    runtime: Runtime, make_bundle: Callable[..., Bundle], new_id: Callable[[], str], manager: Manager
) -> None:
    for detach in (True, False):
        id, bundle = new_id(), make_bundle()
        bundle.sh(SCRIPT).write()
        flags = ["--detach"] if detach else []
        running = runtime.begin("run", "--bundle", bundle.path, *flags, id, env=manager.environment)
        wait_until(lambda id=id: listening(runtime, id), "the socket")  # type: ignore[misc]
        wait_until(lambda running=running: "up" in running.stdout_path.read_text(), "the process's words")  # type: ignore[misc]
        pid = runtime.state(id)["pid"]
        say(pid, b"READY=1")
        told = manager.told()
        assert told == {"READY": "1", "MAINPID": str(pid if detach else running.pid)}
        if detach:
            manager.answer_barriers()
            running.wait().ok()
        runtime.kill(id, "KILL").ok()
        if detach:
            os.waitpid(pid, 0)
            runtime.delete(id).ok()
        else:
            assert running.wait().status == 128 + signal.SIGKILL


def test_nothing_is_made_without_notify_socket(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    """If only start has NOTIFY_SOCKET, it does not wait either: the process does not know the socket."""
    id = new_id()
    created = runtime.create(bundle.sh("env; ls -d /run/notify; exec sleep 1000"), id).ok()
    pid = runtime.state(id)["pid"]
    if runtime.is_ocipy:
        runtime.start(id, env={"NOTIFY_SOCKET": "/nowhere"}).ok()
    else:
        runtime.start(id).ok()
    wait_until(lambda: "No such file" in created.stderr_path.read_text(), "the end of the script")
    assert "NOTIFY_SOCKET" not in created.stdout_path.read_text()
    runtime.delete(id, force=True).ok()
    os.waitpid(pid, 0)


@pytest.mark.ocipy_only(reason="runc fails there")
def test_a_missing_service_manager_is_a_warning(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    result = runtime.run(bundle.args("true"), new_id(), env={"NOTIFY_SOCKET": str(work / "nobody")}).ok()
    assert f"warning: NOTIFY_SOCKET: cannot relay to {work}/nobody: No such file or directory" in result.stderr


@pytest.mark.ocipy_only(reason="runc wants the path to be short")
def test_a_long_path_and_an_abstract_address(
    make_runtime: Callable[[str], Runtime], bundle: Bundle, new_id: Callable[[], str]
) -> None:
    runtime, id = make_runtime("long" * 20), new_id()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{id}")
        manager.settimeout(scaled(20))
        running = runtime.begin(
            "run", "--bundle", bundle.sh(SCRIPT).write().parent, id, env={"NOTIFY_SOCKET": f"@{id}"}
        )
        wait_until(lambda: "up" in running.stdout_path.read_text(), "the process's words")
        say(runtime.state(id)["pid"], b"READY=1")
        assert manager.recv(4096) == b"READY=1\nMAINPID=%d\n" % running.pid
    runtime.kill(id, "KILL").ok()
    assert running.wait().status == 128 + signal.SIGKILL


@pytest.mark.ocipy_only(reason="about its own descriptors")
def test_later_messages_of_the_process_are_read_and_dropped(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], manager: Manager
) -> None:
    id = new_id()
    running = runtime.begin("run", "--bundle", bundle.sh(SCRIPT).write().parent, id, env=manager.environment)
    wait_until(lambda: "up" in running.stdout_path.read_text(), "the process's words")
    pid = runtime.state(id)["pid"]
    for _ in range(50):
        say(pid, b"READY=1")
    say(pid, b"MAINPID=1\nERRNO=2\nREADY=1")
    assert manager.told() == {"READY": "1", "MAINPID": str(running.pid)}
    manager.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        manager.socket.recv(4096)
    runtime.kill(id, "KILL").ok()
    running.wait()


def test_the_bundle_and_a_later_exec_do_not_see_it(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], manager: Manager
) -> None:
    id = new_id()
    runtime.create(bundle.sh("sleep 1000"), id, env=manager.environment).ok()
    assert "notify" not in (bundle.path / "config.json").read_text()
    if runtime.is_ocipy:
        assert "/run/notify" not in (runtime.root / id / "config.json").read_text()
    pid = runtime.state(id)["pid"]
    runtime.delete(id, force=True).ok()
    os.waitpid(pid, 0)


def received_pidfd(listener: socket.socket) -> tuple[bytes, int]:
    """The only message, and the pid of its pidfd."""
    connection, _ = listener.accept()
    with connection:
        data, fds, _, _ = socket.recv_fds(connection, 4096, 4)
    (fd,) = fds
    fields = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
    os.close(fd)
    return data, int(fields["Pid"])


def has_pidfd_socket(runtime: Runtime) -> bool:
    help_text = subprocess.run([runtime.path, "create", "--help"], capture_output=True, text=True, check=False).stdout
    return "--pidfd-socket" in help_text


@pytest.mark.parametrize("command", ["create", "run"])
def test_a_pidfd_goes_to_the_socket(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path, command: str
) -> None:
    if not has_pidfd_socket(runtime):
        pytest.skip("this runtime has no --pidfd-socket")
    id = new_id()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(work / "pidfd.sock"))
        listener.listen()
        listener.settimeout(scaled(20))
        flags = ["--detach"] if command == "run" else []
        bundle.args("sleep", "1000").write()
        runtime.call(command, "--bundle", bundle.path, "--pidfd-socket", work / "pidfd.sock", *flags, id).ok()
        pid = runtime.state(id)["pid"]
        assert received_pidfd(listener) == (b"standard", pid)
    runtime.delete(id, force=True).ok()
    os.waitpid(pid, 0)


@pytest.mark.ocipy_only(reason="the words of its errors")
def test_a_pidfd_socket_that_nobody_listens_at(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as nobody:
        nobody.bind(str(work / "pidfd.sock"))
    for path, words in ((work / "pidfd.sock", "nobody listens there"), (work / "none", "No such file or directory")):
        runtime.create(bundle, new_id(), "--pidfd-socket", path).fails("cannot send the pidfd", str(path), words)
    assert runtime.ids() == []

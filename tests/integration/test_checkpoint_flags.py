"""The flags of checkpoint and restore for resources that lead out of the container."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import cgroup_dirs, cgroups_of, proc_status, scaled, wait_until
from tests.harness.agent import PYTHON
from tests.harness.criu import Asked, Counter, has_feature, version

pytestmark = pytest.mark.usefixtures("criu")


@pytest.fixture
def connections() -> None:
    """Skip a test if criu cannot save a TCP socket: before 4.2 it uses a call that Linux 6.16 refuses."""
    with socket.socket() as one:
        try:
            one.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED)
        except OSError:
            if version() < (4, 2):
                pytest.skip("needs criu 4.2 on a kernel that has no SO_PASSCRED for TCP sockets (Linux 6.16)")


CONNECT = """
import socket
listening = socket.create_server(("127.0.0.1", 8000))
client = socket.create_connection(("127.0.0.1", 8000))
server = listening.accept()[0]
client.sendall(b"before")
"""


def refused(asked: Asked, words: str, hint: str) -> None:
    """Assert that a checkpoint without the flag fails with these words, and leaves the container unchanged."""
    pid = asked.pid
    failed = asked.checkpoint()
    failed.fails("criu")
    if asked.runtime.is_ocipy:
        failed.fails(words, hint)
    assert (asked.pid, asked.status) == (pid, "running")
    assert asked.ask("1 + 1") == 2


@pytest.mark.differs_from_runc("the loopback interface stays down")
def test_connections_within_the_container(asked: Asked, connections: None) -> None:
    """Connections in the container's network namespace, over its loopback interface."""
    asked.run()
    asked.ask(CONNECT)
    refused(asked, "Connected TCP socket", "give --tcp-established, here and at the restore")
    asked.there_and_back("--tcp-established")
    assert asked.ask("server.recv(100).decode()") == "before"
    asked.ask("server.sendall(b'after')")
    assert asked.ask("client.recv(100).decode()") == "after"
    asked.ask("another = socket.create_connection(('127.0.0.1', 8000)); third = listening.accept()[0]")
    asked.ask("another.sendall(b'new')")
    assert asked.ask("third.recv(100).decode()") == "new"


# Sends the lines that it reads, and prints the answers.
CLIENT = """
import socket, sys
connection = socket.create_connection(("127.0.0.1", 8000))
print("connected", flush=True)
for line in sys.stdin:
    connection.sendall(line.encode())
    print(connection.recv(100).decode(), end="", flush=True)
"""


@pytest.fixture
def network() -> Iterator[str]:
    """The path of a network namespace with a loopback interface, which a process keeps alive, as in a pod."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep 1000"])
    path = f"/proc/{holder.pid}/ns/net"
    try:
        command = Path(f"/proc/{holder.pid}/comm")
        wait_until(lambda: command.read_text() == "sleep\n", "the namespace")
        yield path
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.differs_from_runc("with criu 3.17 its restore leaves the namespace locked", always=False)
def test_a_connection_to_the_outside(asked: Asked, network: str, connections: None) -> None:
    """A peer that does not notice the container's absence."""
    asked.bundle.without_namespace("network")
    asked.bundle.linux["namespaces"].append({"type": "network", "path": network})
    asked.run()
    asked.ask("import socket; listening = socket.create_server(('127.0.0.1', 8000))")
    client = subprocess.Popen(
        ["nsenter", f"--net={network}", PYTHON, "-I", "-S", "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert client.stdin is not None and client.stdout is not None
    try:
        assert client.stdout.readline() == b"connected\n"
        asked.ask("server = listening.accept()[0]")
        asked.checkpoint("--tcp-established").ok()
        client.stdin.write(b"while it is away\n")
        client.stdin.flush()
        asked.restore("--tcp-established").ok()
        assert asked.ask("server.recv(100).decode()") == "while it is away\n"
        asked.ask("server.sendall(b'an answer\\n')")
        assert select.select([client.stdout], [], [], scaled(30))[0]
        assert client.stdout.readline() == b"an answer\n"
        asked.runtime.delete(asked.id, force=True).ok()
    finally:
        client.kill()
        client.communicate()


def test_a_connection_that_is_not_accepted(asked: Asked, connections: None) -> None:
    asked.run()
    asked.ask("import socket; listening = socket.create_server(('127.0.0.1', 8000))")
    asked.ask("client = socket.socket(); client.connect(('127.0.0.1', 8000)); client.close()")
    refused(asked, "In-flight connection", "give --tcp-skip-in-flight")
    asked.checkpoint("--tcp-skip-in-flight", "--tcp-established").ok()
    asked.restore("--tcp-established").ok()
    assert asked.ask("listening.getsockname()") == ["127.0.0.1", 8000]


@pytest.mark.ocipy_only("runc has no --network-lock")
@pytest.mark.parametrize("method", ["iptables", "nftables", "skip"])
def test_how_connections_are_locked(asked: Asked, connections: None, method: str) -> None:
    if method == "nftables" and not has_feature("network_lock_nftables"):
        pytest.skip("needs a criu with nftables (criu check --feature network_lock_nftables)")
    asked.run()
    asked.ask(CONNECT)
    if method == "skip" and version() < (3, 19):
        asked.checkpoint("--tcp-established", "--network-lock", method).fails(
            "does not support --network-lock skip", "3.19"
        )
        return
    asked.checkpoint("--tcp-established", "--network-lock", method).ok()
    asked.restore("--tcp-established").ok()
    assert asked.ask("server.recv(100).decode()") == "before"
    asked.ask("server.sendall(b'after')")
    assert asked.ask("client.recv(100).decode()") == "after"


@pytest.mark.ocipy_only("runc has no --tcp-close")
def test_connections_that_are_closed(asked: Asked, connections: None) -> None:
    asked.run()
    asked.ask(CONNECT)
    asked.there_and_back("--tcp-close")
    assert asked.ask("listening.getsockname()") == ["127.0.0.1", 8000]
    assert asked.ask("client.recv(100).decode()") == ""


def test_a_datagram_socket_of_the_host(asked: Asked, work: Path) -> None:
    """Like a log socket: datagrams go to the current listener. Its path is the same inside and outside."""
    address = str(work / "sockets/log")
    (work / "sockets").mkdir()
    asked.bundle.mount(str(work / "sockets"), str(work / "sockets"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(address)
        log.settimeout(scaled(10))
        asked.bundle.without_namespace("network")  # criu looks for the other end in the container's namespace
        asked.run()
        asked.ask(f"import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect({address!r})")
        asked.ask("s.send(b'before')")
        assert log.recv(100) == b"before"
        refused(asked, "External socket", "give --ext-unix-sk, here and at the restore")
        asked.there_and_back("--ext-unix-sk")
        asked.ask("s.send(b'after')")
        assert log.recv(100) == b"after"


def test_a_stream_socket_of_the_host(asked: Asked) -> None:
    """criu cannot save it, with or without the flag."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(asked.ask.place / "stream"))
        listening.listen()
        asked.bundle.without_namespace("network")
        asked.run()
        asked.ask("import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.connect('/agent/stream')")
        connection, _ = listening.accept()
        failed = asked.checkpoint("--ext-unix-sk")
        failed.fails("criu")
        if asked.runtime.is_ocipy:
            failed.fails("half of stream unix", "only if it is a datagram socket")
            assert "give --ext-unix-sk" not in failed.stderr
        connection.close()
        assert asked.ask("1 + 1") == 2


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_file_locks(asked: Asked, kind: str) -> None:
    asked.run()
    asked.ask(f"import fcntl; file = open('/agent/lock', 'w'); fcntl.{kind}(file, fcntl.LOCK_EX)")
    refused(asked, "file locks", "give --file-locks, here and at the restore")
    asked.checkpoint("--file-locks").ok()
    lock = getattr(fcntl, kind)
    with (asked.ask.place / "lock").open("w") as file:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    asked.restore("--file-locks").ok()
    with (asked.ask.place / "lock").open("w") as file:
        with pytest.raises(BlockingIOError):
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_is_taken_meanwhile(asked: Asked) -> None:
    """The restore waits for the lock."""
    asked.run()
    asked.ask("import fcntl; file = open('/agent/lock', 'w'); fcntl.flock(file, fcntl.LOCK_EX)")
    asked.checkpoint("--file-locks").ok()
    with (asked.ask.place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        restore = asked.begin_restore("--file-locks")
        waiting = f":{os.fstat(file.fileno()).st_ino} "
        wait_until(lambda: Path("/proc/locks").read_text().count(waiting) > 1, "somebody who waits for the lock", 60)
        assert restore.process.poll() is None
    assert asked.ask("1 + 1") == 2
    asked.runtime.delete(asked.id, force=True).ok()
    assert restore.wait(30).status == 137


def test_a_file_with_another_name(asked: Asked) -> None:
    """It was deleted, but has another link: criu makes its first name again while it restores."""
    asked.run()
    asked.ask("import os; file = open('/agent/one', 'w+'); print('text', file=file, flush=True)")
    asked.ask("os.link('/agent/one', '/agent/other'); os.unlink('/agent/one')")
    refused(asked, "link-remap", "give --link-remap")
    asked.checkpoint("--link-remap").ok()
    asked.restore().ok()
    assert asked.ask("(file.seek(0), file.read())[1]") == "text\n"
    assert asked.ask("os.fstat(file.fileno()).st_ino == os.stat('/agent/other').st_ino")
    assert sorted(path.name for path in asked.ask.place.iterdir()) == ["answer", "other"]


def test_a_terminal_of_the_host(counter: Counter) -> None:
    """It is a host file. A terminal inside the container is saved with or without --shell-job."""
    master, peer = os.openpty()
    try:
        counter.run(stdin=peer, stdout=peer, stderr=peer)
        failed = counter.checkpoint()
        failed.fails("criu")
        if counter.runtime.is_ocipy:
            failed.fails("/dev/pts/", "a host file is open")
        assert counter.status == "running"
        counter.goes_on(counter.count)
    finally:
        os.close(master)
        os.close(peer)


@pytest.mark.differs_from_runc("the loopback interface stays down")
def test_an_empty_network(counter: Counter) -> None:
    """The hooks restore network devices; lo is up, as after create."""
    pid = counter.run()
    names = devices(pid)
    counter.there_and_back("--empty-ns", "network")
    assert devices(counter.pid) == names
    counter.goes_on(counter.count)


def devices(pid: int) -> dict[str, str]:
    """The flags of each network device."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-o", "link"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[1]: line.split()[2] for line in lines}


@pytest.mark.parametrize("mode", ["soft", "full", "strict", "ignore"])
def test_the_modes_of_cgroups(asked: Asked, mode: str) -> None:
    """Except with ignore, the cgroups below the container's are restored with their processes. strict demands that no
    cgroup exists, but the container's does."""
    asked.bundle.linux["resources"]["pids"] = {"limit": 100}
    asked.run()
    child = asked.ask("os.fork() or time.sleep(1e6)")
    (outside,) = [pid for pid in asked.processes() if proc_status(pid)["NSpid"].split()[-1] == str(child)]
    name = os.path.basename(asked.bundle.linux["cgroupsPath"])
    for directory in cgroup_dirs(name):
        _make_below(directory, outside)
    before = _cgroups(outside)
    assert all(path.endswith("/below") for path in before.values())
    asked.checkpoint("--manage-cgroups-mode", mode).ok()
    assert cgroup_dirs(name) == []
    if mode == "strict":
        asked.restore("--manage-cgroups-mode", mode).fails("existing cgroups")  # the container's own is there
        asked.restore().ok()
        return
    asked.restore("--manage-cgroups-mode", mode).ok()
    (outside,) = [pid for pid in asked.processes() if proc_status(pid)["NSpid"].split()[-1] == str(child)]
    own = {name: path.removesuffix("/below") for name, path in before.items()}
    assert _cgroups(outside) == (own if mode == "ignore" else before)
    assert _cgroups(asked.pid) == own


def _make_below(directory: Path, pid: int) -> None:
    below = directory / "below"
    below.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):  # on v1 no process may enter while these are empty
        if (below / name).exists():
            (below / name).write_text((directory / name).read_text())
    (below / "cgroup.procs").write_text(str(pid))


def _cgroups(pid: int) -> dict[str, str]:
    """The container's cgroup in each hierarchy that has one."""
    return {name: path for name, path in cgroups_of(pid).items() if "ocipy-test" in path}

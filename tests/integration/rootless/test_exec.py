"""exec by an unprivileged user, and inside a user namespace like rootless podman's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, namespaces, open_files, proc_status, process_state, wait_until
from tests.harness.terminal import Console, read_until
from tests.harness.user import FIRST_GID, FIRST_UID, UserNamespace, UserRuntime

MakeContainer = Callable[..., Container]
FAILED = 255

pytestmark = pytest.mark.unprivileged


@pytest.fixture
def one(container: MakeContainer, bundle: Bundle) -> Container:
    """A running container that belongs to the user."""
    return container(bundle.args("sleep", "1000")).start()


def detached(one: Container, runtime: UserRuntime, *words: str, flags: tuple[str | Path, ...] = ()) -> int:
    file = runtime.home / "exec.pid"
    one.exec(*words, flags=["--detach", "--pid-file", file, *flags]).ok()
    return int(file.read_text())


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.smoke
def test_it_joins_the_containers_namespaces_and_cgroups(one: Container, runtime: UserRuntime) -> None:
    pid = detached(one, runtime, "sleep", "1000")
    wait_until(lambda: process_state(pid) == "S")
    assert namespaces(pid) == namespaces(one.pid)
    ours, theirs = proc_status(pid), proc_status(one.pid)
    for name in ("Uid", "Gid", "CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs"):
        assert ours[name] == theirs[name], name
    assert set(ours["Uid"].split()) == {str(runtime.uid)}
    assert set(open_files(pid)) == {0, 1, 2}
    end(pid)


def test_status_and_errors(one: Container) -> None:
    assert one.sh("id -u; id -g; pwd; exit 7").status == 7
    assert one.sh("kill -TERM $$; sleep 5").status == 128 + signal.SIGTERM
    one.exec("no-such-command").fails("executable file not found in $PATH", status=FAILED)
    one.exec("true", flags=["--user", "1"]).fails(status=FAILED)


@pytest.mark.differs_from_runc("runc sets no additional groups without root")
def test_ranges(container: MakeContainer, ranges: Bundle, runtime: UserRuntime) -> None:
    one = container(ranges.args("sleep", "1000")).start()
    pid = detached(one, runtime, "sleep", "1000", flags=("--user", "5:6", "--additional-gids", "7"))
    status = proc_status(pid)
    assert set(status["Uid"].split()) == {str(FIRST_UID + 4)}
    assert set(status["Gid"].split()) == {str(FIRST_GID + 5)}
    assert status["Groups"].split() == [str(FIRST_GID + 6)]
    end(pid)


def test_process_of_another_user(container: MakeContainer, ranges: Bundle, runtime: UserRuntime) -> None:
    """Its namespaces still belong to the caller: user_namespaces(7)."""
    ranges.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(ranges.args("sleep", "1000")).start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    assert one.exec("id", "-u").ok().stdout == "1000\n"
    assert one.exec("id", "-u", flags=["--user", "0"]).ok().stdout == "0\n"


def test_terminal(one: Container, runtime: UserRuntime, work: Path) -> None:
    console = Console(work / "console")
    runtime.give(work)
    flags = ("--tty", "--console-socket", console.path)
    pid = detached(one, runtime, "sh", "-c", "tty; exec sleep 1000", flags=flags)
    assert read_until(console.accept(), "\n") == "/dev/pts/0\n"
    end(pid)
    console.close()


def test_seccomp(container: MakeContainer, bundle: Bundle) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    for no_new_privileges in (True, False):
        bundle.process["noNewPrivileges"] = no_new_privileges
        one = container(bundle.args("sleep", "1000")).start()
        result = one.sh("grep Seccomp: /proc/self/status; mkdir /dev/shm/a")
        assert result.stdout.split()[1] == "2"
        assert "Operation not permitted" in result.stderr
        one.end()


@pytest.mark.ocipy_only("with runc every process with the same ids can inspect the waiting process")
def test_created_container(container: MakeContainer, bundle: Bundle) -> None:
    """Its process still runs the runtime's executable, so nobody may enter or inspect it (CVE-2016-9962)."""
    one = container(bundle.args("sleep", "1000"))
    one.exec("true").fails("only after they have started", status=FAILED)
    one.start()
    one.exec("true").ok()


def test_stopped_container(one: Container) -> None:
    one.kill("KILL")
    one.reap()
    one.exec("true").fails("cannot exec in a stopped container", status=FAILED)


@pytest.mark.skipif(os.geteuid() != 0, reason="a user cannot act as root")
@pytest.mark.needs_capability("CAP_SYS_RESOURCE")
def test_container_of_another_user(one: Container, runtime: UserRuntime) -> None:
    """root can enter it, too: in the container it is the container's root."""
    path, root = runtime.path, str(runtime.root)
    result = runtime.spawn([path, "--root", root, "exec", one.id, "id", "-u"]).wait().ok()
    assert result.stdout == "0\n"


@pytest.fixture(params=["one_id", "podmans"])
def outer(request: pytest.FixtureRequest) -> UserNamespace:
    """Both kinds of user namespace that callers have."""
    made: UserNamespace = request.getfixturevalue(request.param)
    return made


def test_inside_a_user_namespace(
    outer: UserNamespace, container: MakeContainer, without_user_namespace: Bundle, runtime: UserRuntime
) -> None:
    """There is no user namespace to join: the caller is in it."""
    one = container(without_user_namespace.args("sleep", "1000")).start()
    pid = detached(one, runtime, "sleep", "1000")
    assert namespaces(pid) == namespaces(one.pid)
    assert proc_status(pid)["CapEff"] == proc_status(one.pid)["CapEff"]
    end(pid)
    assert one.sh("id -u; exit 3").status == 3


@pytest.mark.ocipy_only("runc makes no such container")
def test_nested_user_namespace(podmans: UserNamespace, container: MakeContainer, bundle: Bundle) -> None:
    """Another user namespace below podman's."""
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 1, "size": 10}]
    one = container(bundle.args("sleep", "1000")).start()
    assert one.sh("id -u; cat /proc/self/uid_map", "--user", "5").ok().stdout.split() == ["5", "0", "1", "10"]


@pytest.mark.ocipy_only("runc makes no such container")
def test_nested_user_namespace_with_the_callers_id(
    podmans: UserNamespace, container: MakeContainer, bundle: Bundle
) -> None:
    """podman's keep-id: the caller joins under its own mapped id, although another user owns the session keyring."""
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [
        {"containerID": 0, "hostID": 1, "size": 3},
        {"containerID": 3, "hostID": 0, "size": 1},
    ]
    bundle.process["user"] = {"uid": 3, "gid": 3}
    one = container(bundle.args("sleep", "1000")).start()
    assert one.sh("id -u").ok().stdout == "3\n"

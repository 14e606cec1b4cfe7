"""exec: the process that its flags and the container's config describe, from inside and outside."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import (
    Bundle,
    Container,
    Runtime,
    arguments_of,
    cgroups_of,
    namespaces,
    open_files,
    proc_status,
    process_state,
    wait_until,
)

MakeContainer = Callable[..., Container]
Detached = Callable[..., int]
FAILED = 255


# The exit status.


@pytest.mark.parametrize("status", [0, 1, pytest.param(7, marks=pytest.mark.smoke), 125, 255])
def test_exit_status_is_passed_on(one: Container, status: int) -> None:
    assert one.sh(f"exit {status}").status == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_signal_is_128_and_its_number(one: Container, number: int) -> None:
    assert one.sh(f"kill -{number} $$; sleep 5").status == 128 + number


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-command", 'exec: "no-such-command": executable file not found in $PATH'),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc", 'exec: "/etc": is a directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
@pytest.mark.parametrize("detach", [False, True])
def test_command_that_cannot_be_executed(one: Container, work: Path, name: str, words: str, detach: bool) -> None:
    """The error texts that engines match, status 255, and no pid file, not even an old one."""
    file = work / "pid"
    file.write_text("1")
    flags: list[str | Path] = ["--pid-file", file, *(["--detach"] if detach else [])]
    one.exec(name, flags=flags).fails(words, status=FAILED)
    assert not file.exists() or not one.runtime.is_ocipy
    assert os.listdir(f"/proc/{one.pid}/task") == [str(one.pid)]


@pytest.mark.parametrize(
    "detach", [False, pytest.param(True, marks=pytest.mark.ocipy_only("runc's detached exec does not learn of it"))]
)
def test_interpreter_that_is_missing(container: MakeContainer, bundle: Bundle, detach: bool) -> None:
    """Only execve(2) itself notices that. The error is reported even if the process is detached."""
    bundle.file("/bin/script", "#!/no/such/interpreter\n", 0o755)
    one = container(bundle.args("sleep", "1000")).start()
    one.exec("script", flags=["--detach"] if detach else []).fails("no such file or directory", status=FAILED)


def test_missing_container(runtime: Runtime) -> None:
    runtime.call("exec", "no-such-container", "true").fails("container does not exist", status=FAILED)


def test_stopped_container(container: MakeContainer, work: Path) -> None:
    one = container(args=["true"]).start().wait_dead()
    file = work / "pid"
    file.write_text("1")
    one.exec("true", flags=["--pid-file", file]).fails("cannot exec in a stopped container", status=FAILED)
    assert not file.exists() or not one.runtime.is_ocipy


def test_created_container(container: MakeContainer) -> None:
    """Its namespaces exist, and its process waits."""
    one = container()
    assert one.exec("hostname").ok().stdout == "ocipy-test\n"
    assert one.status == "created"


def test_no_command(one: Container) -> None:
    one.exec().fails(status=None)


def test_no_id(runtime: Runtime) -> None:
    runtime.call("exec").fails(status=1) if runtime.is_ocipy else runtime.call("exec")


# Its place.


@pytest.mark.smoke
def test_it_joins_the_containers_namespaces_and_cgroups(container: MakeContainer, detached: Detached) -> None:
    one = container().start()
    pid = detached(one, "sleep", "1000")
    assert namespaces(pid) == namespaces(one.pid)
    assert cgroups_of(pid) == cgroups_of(one.pid)
    assert os.readlink(f"/proc/{pid}/root") == "/"
    assert arguments_of(pid) == ["sleep", "1000"]
    status = proc_status(pid)
    assert status["NSpid"].split()[-1] != "1"
    assert status["PPid"] == str(os.getpid())


def test_its_parent_is_outside(one: Container) -> None:
    assert one.sh("cut -d' ' -f4 /proc/self/stat; cat /proc/$$/stat | cut -d' ' -f4").ok().lines[-1] == "0"


@pytest.mark.parametrize("kinds", [("network",), ("network", "ipc", "uts"), ("pid",), ("cgroup",), ("time",)])
def test_namespaces_that_are_shared_with_the_host(
    container: MakeContainer, bundle: Bundle, kinds: tuple[str, ...], detached: Detached
) -> None:
    bundle.without_namespace(*kinds)
    if "uts" in kinds:
        bundle.config.pop("hostname")
    if "network" in kinds:
        bundle.without_mount("/sys", "/sys/fs/cgroup")
        bundle.linux["maskedPaths"] = []
    one = container(bundle.args("sleep", "1000")).start()
    pid = detached(one, "sleep", "1000")
    assert namespaces(pid) == namespaces(one.pid)


def test_time_namespace(container: MakeContainer, bundle: Bundle, detached: Detached) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 100000000}}
    one = container(bundle.args("sleep", "1000")).start()
    assert float(one.exec("cat", "/proc/uptime").ok().stdout.split()[0]) > 100000000
    pid = detached(one, "sleep", "1000")
    assert namespaces(pid) == namespaces(one.pid)


def test_namespaces_that_were_joined(
    runtime: Runtime, container: MakeContainer, make_bundle: Callable[[], Bundle], detached: Detached
) -> None:
    first = container().start()
    bundle = make_bundle().args("sleep", "1000")
    for entry in bundle.linux["namespaces"]:
        if entry["type"] in ("network", "ipc", "uts"):
            entry["path"] = f"/proc/{first.pid}/ns/{entry['type'].replace('network', 'net')}"
    bundle.config.pop("hostname")
    second = container(bundle).start()
    pid = detached(second, "sleep", "1000")
    assert namespaces(pid) == namespaces(second.pid)
    assert namespaces(pid)["net"] == namespaces(first.pid)["net"]


def test_user_namespace(container: MakeContainer, bundle: Bundle, detached: Detached) -> None:
    bundle.user_namespace()
    one = container(bundle.args("sleep", "1000")).start()
    assert (
        one.sh("id -u; id -g; id -G; cat /proc/self/uid_map").ok().stdout.split()[:6] == "0 0 0 0 100000 65536".split()
    )
    pid = detached(one, "sleep", "1000", flags=("--user", "1000:1001"))
    assert namespaces(pid) == namespaces(one.pid)
    assert proc_status(pid)["Uid"].split() == ["101000"] * 4
    assert proc_status(pid)["Gid"].split() == ["101001"] * 4
    one.exec("true", flags=["--user", "65536"]).fails(status=FAILED)


@pytest.mark.ocipy_only("runc joins no root without a mount namespace")
def test_without_a_mount_namespace_its_root_is_the_containers(
    container: MakeContainer, bundle: Bundle, detached: Detached
) -> None:
    bundle.without_namespace("mount")
    bundle.config["mounts"] = []
    bundle.linux.pop("maskedPaths")
    bundle.linux.pop("readonlyPaths")
    bundle.config["root"]["readonly"] = False
    bundle.file("/etc/mark", "of the container")
    one = container(bundle.args("sleep", "1000")).start()
    assert one.exec("cat", "/etc/mark").ok().stdout == "of the container"
    pid = detached(one, "sleep", "1000")
    assert os.readlink(f"/proc/{pid}/root") == str(bundle.rootfs)


def test_no_pivot(container: MakeContainer, bundle: Bundle) -> None:
    bundle.file("/etc/mark", "of the container")
    one = container(bundle.args("sleep", "1000"), "--no-pivot").start()
    assert one.exec("cat", "/etc/mark").ok().stdout == "of the container"


# Streams and file descriptors.


def test_streams(one: Container) -> None:
    data = bytes(range(256)) * 1000
    result = one.sh("cat; echo err >&2", stdin=data).ok()
    assert result.raw_stdout == data
    assert result.stderr == "err\n"


def test_streams_belong_to_the_user(one: Container) -> None:
    """Otherwise the process could not reopen /dev/stdout."""
    read, write = os.pipe()
    one.sh("echo text > /proc/self/fd/1", "--user", "1000:1000", stdout=write).ok()
    os.close(write)
    assert os.read(read, 100) == b"text\n"
    os.close(read)


@pytest.mark.ocipy_only("runc leaves the host's /dev/null open")
def test_null_device_is_the_containers(one: Container, detached: Detached) -> None:
    pid = detached(one, "sleep", "1000")
    inside = os.stat(f"/proc/{one.pid}/root/dev/null")
    assert os.stat(f"/proc/{pid}/fd/0").st_dev == inside.st_dev


def test_preserved_descriptors(one: Container) -> None:
    """Descriptor 3 is passed on, 4 is closed."""
    prefix = ["sh", "-c", 'exec 3>&1 4>&1; exec "$@"', "sh"]
    script = "echo through >&3; for fd in 3 4; do test -e /proc/self/fd/$fd && echo $fd; done"
    result = one.sh(script, "--preserve-fds", "1", prefix=prefix)
    assert result.lines == ["through", "3"]


def test_preserved_descriptor_that_is_not_open(one: Container) -> None:
    one.exec("true", flags=["--preserve-fds", "30"]).fails("preserved-fd", status=FAILED)


def test_nothing_of_the_caller_is_left_open(one: Container, detached: Detached) -> None:
    descriptor = os.open("/", os.O_RDONLY)
    try:
        pid = detached(one, "sleep", "1000", fds=(descriptor,))
        wait_until(lambda: set(open_files(pid)) == {0, 1, 2})
    finally:
        os.close(descriptor)


@pytest.mark.differs_from_runc("runc keeps the umask of the caller")
def test_signals_and_umask_of_the_caller_are_not_inherited(one: Container, detached: Detached) -> None:
    """conmon ignores SIGPIPE."""
    prefix = ["sh", "-c", "trap '' PIPE HUP USR1; umask 077; exec \"$@\"", "sh"]
    pid = detached(one, "sleep", "1000", prefix=prefix)
    status = proc_status(pid)
    assert int(status["SigIgn"], 16) == int(status["SigBlk"], 16) == 0
    assert status["Umask"] == "0022"


def test_death_of_the_callers_parent_does_not_kill_the_process(one: Container, detached: Detached) -> None:
    """conmon and the shim start the runtime with PR_SET_PDEATHSIG, which only fork clears (prctl(2))."""
    pid = detached(one, "sleep", "1000", prefix=["setpriv", "--pdeathsig", "KILL"])
    wait_until(lambda: process_state(pid) == "S")
    assert proc_status(pid)["PPid"] == str(os.getpid())


# Detached.


@pytest.mark.smoke
def test_detached(one: Container, detached: Detached) -> None:
    pid = detached(one, "sleep", "1000")
    assert (one.bundle.path / "exec.pid").read_text() == str(pid), "no newline"
    wait_until(lambda: process_state(pid) == "S")


def test_many_at_once(one: Container, runtime: Runtime) -> None:
    calls = [runtime.begin("exec", one.id, "sh", "-c", f"exit {number}") for number in range(20)]
    assert [call.wait().status for call in calls] == list(range(20))

"""run, in the foreground and detached."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Result, Runtime, process_state, wait_until

NewId = Callable[[], str]
RunScript = Callable[..., Result]


@pytest.mark.parametrize("status", [0, 1, pytest.param(7, marks=pytest.mark.smoke), 125, 255])
def test_exit_status_is_passed_on(sh: RunScript, status: int) -> None:
    assert sh(f"exit {status}").status == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_signal_is_128_and_its_number(sh: RunScript, bundle: Bundle, number: int) -> None:
    # A process with pid 1 cannot kill itself by a signal. Without a pid namespace it is an ordinary process.
    bundle.without_namespace("pid")
    assert sh(f"kill -{number} $$; sleep 5", bundle).status == 128 + number


def test_nothing_is_left_and_the_id_is_free_again(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    for _ in range(2):
        assert runtime.run(bundle.args("true"), id).ok().stdout == ""
        assert runtime.ids() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
@pytest.mark.parametrize("option", ["subset=pid", "hidepid=invisible"])
def test_a_restricted_proc_is_enough(runtime: Runtime, bundle: Bundle, new_id: NewId, option: str) -> None:
    """As a sandbox around an engine mounts it: proc(5)."""
    mount = f'mount -t proc -o {option} proc /proc && exec "$@"'
    wrapped = ["unshare", "--mount", "--pid", "--fork", "--", "sh", "-c", mount, "sh"]
    bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "63"}
    said = runtime.run(bundle.args("cat", "/proc/sys/net/ipv4/ip_default_ttl"), new_id(), prefix=wrapped)
    assert said.ok().stdout == "63\n"


def test_errors_are_status_1(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    runtime.run(bundle.args("/no/such"), new_id()).fails("no such file or directory")
    assert runtime.ids() == []


def test_state_is_running_meanwhile(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    bundle.sh("echo up; read line; echo $line").write()
    read, write = os.pipe()
    running = runtime.begin("run", "--bundle", bundle.path, id, stdin=read)
    os.close(read)
    wait_until(lambda: running.stdout_path.read_text() == "up\n")
    state = runtime.state(id)
    assert state["status"] == "running"
    assert state["pid"] != running.pid
    os.write(write, b"word\n")
    os.close(write)
    assert running.wait().ok().stdout == "up\nword\n"


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT]
)
def test_signals_are_forwarded(runtime: Runtime, bundle: Bundle, new_id: NewId, number: int) -> None:
    name = signal.Signals(number).name.removeprefix("SIG")
    bundle.sh(f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done").write()
    running = runtime.begin("run", "--bundle", bundle.path, new_id())
    wait_until(lambda: running.stdout_path.read_text() == "ready\n")
    running.signal(number)
    result = running.wait()
    assert result.status == 9, repr(result)
    assert result.stdout == f"ready\ngot {name}\n"


def test_run_killed_leaves_a_container_that_delete_removes(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    bundle.sh("echo up; exec sleep 1000").write()
    running = runtime.begin("run", "--bundle", bundle.path, id)
    wait_until(lambda: running.stdout_path.read_text() == "up\n")
    running.signal(signal.SIGKILL)
    running.wait()
    runtime.delete(id, force=True).ok()
    assert runtime.ids() == []


def test_detached(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    id = new_id()
    result = runtime.run(bundle.sh("echo up; exec sleep 1000"), id, "--detach", "--pid-file", work / "pid").ok()
    state = runtime.state(id)
    assert state["status"] == "running"
    assert (work / "pid").read_bytes() == str(state["pid"]).encode()
    wait_until(lambda: result.stdout_path.read_text() == "up\n")
    runtime.kill(id, "KILL").ok()
    wait_until(lambda: process_state(state["pid"]) == "Z")
    runtime.delete(id).ok()


def test_detached_short_flag(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    runtime.run(bundle.args("sleep", "1000"), id, "-d").ok()
    assert runtime.state(id)["status"] == "running"
    runtime.delete(id, force=True).ok()


def test_detached_command_that_is_missing(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    runtime.run(bundle.args("/no/such"), new_id(), "--detach", "--pid-file", work / "pid").fails("no such file")
    assert runtime.ids() == []
    assert not (work / "pid").exists()


def test_keep(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    assert runtime.run(bundle.sh("exit 4"), id, "--keep").status == 4
    assert runtime.state(id)["status"] == "stopped"
    runtime.delete(id).ok()


def test_pid_file_in_the_foreground(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    bundle.sh("exec sleep 0.2").write()
    running = runtime.begin("run", "--bundle", bundle.path, "--pid-file", work / "pid", new_id())
    wait_until((work / "pid").exists)
    pid = int((work / "pid").read_text())
    assert pid not in (running.pid, 0)
    running.wait().ok()


def test_orphans_inside_do_not_keep_run(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """The container ends with init: the other processes in its pid namespace die too."""
    result = runtime.run(bundle.sh("sleep 1000 & exit 5"), new_id(), timeout=15)
    assert result.status == 5


def test_orphans_without_pid_namespace_are_killed(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.without_namespace("pid")
    result = runtime.run(bundle.sh("sleep 1000 > /dev/null 2>&1 & echo $!; exit 5"), new_id(), timeout=15)
    assert result.status == 5
    wait_until(lambda: process_state(int(result.stdout)) in ("Z", ""))


@pytest.mark.parametrize("flag", ["--no-subreaper", "--no-new-keyring", "--no-pivot"])
def test_flags_of_runc(runtime: Runtime, bundle: Bundle, new_id: NewId, flag: str) -> None:
    assert runtime.run(bundle.sh("echo fine"), new_id(), flag).ok().stdout == "fine\n"


def test_no_pivot_still_hides_the_host(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    result = runtime.run(bundle.sh("ls /; ls /work /opt 2>&1 | grep -c 'No such'"), new_id(), "--no-pivot").ok()
    assert result.lines[-1] == "2"
    assert sorted(result.lines[:-1]) == sorted(entry.name for entry in bundle.rootfs.iterdir())


def test_two_at_once(runtime: Runtime, make_bundle: Callable[..., Bundle], new_id: NewId) -> None:
    bundles = [make_bundle().sh(f"echo {number}") for number in range(6)]
    for bundle in bundles:
        bundle.write()
    calls = [runtime.begin("run", "--bundle", bundle.path, new_id()) for bundle in bundles]
    assert [call.wait().ok().stdout for call in calls] == [f"{number}\n" for number in range(6)]


@pytest.mark.ocipy_only("runc says nothing")
def test_an_oom_kill_is_reported(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """One line; the exit status stays that of the signal."""
    bundle.linux["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    id = new_id()
    result = runtime.run(bundle.sh("x=xxxxxxxx; while :; do x=$x$x; done"), id)
    assert result.status == 137
    assert result.stderr.splitlines() == [
        f"ocipy: warning: {id}: the container was OOM-killed: linux.resources.memory.limit is too low for it"
    ]
    other = runtime.run(bundle.sh("exit 137"), new_id())
    assert (other.status, other.stderr) == (137, "")

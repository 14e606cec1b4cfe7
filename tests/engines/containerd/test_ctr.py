"""ctr run --runc-binary and ctr task: containerd's shim and the runtime, and little else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import docs
from tests.engines.containerd.conftest import Ctr
from tests.engines.engine import PATH
from tests.harness import BusyboxRootfs, cgroup_value, namespace, namespaces, proc_status, wait_until

pytestmark = [pytest.mark.engine("containerd ctr"), pytest.mark.usefixtures("ctr_check")]

IMAGE = "localhost/alpine:latest"


def pid_of(ctr: Ctr, id: str) -> int:
    """The container's first process."""
    (line,) = [line for line in ctr("task", "list").lines if line.split()[0] == id]
    return int(line.split()[1])


def status_of(ctr: Ctr, id: str) -> str:
    """RUNNING, PAUSED or STOPPED."""
    (line,) = [line for line in ctr("task", "list").lines if line.split()[0] == id]
    return line.split()[2]


@pytest.fixture
def sleeping(ctr: Ctr, id: str) -> Callable[..., str]:
    """sleeping(*flags): the id of a sleeping container."""

    def start(*flags: str) -> str:
        ctr("run", "--detach", *flags, IMAGE, id, "sleep", "1000").ok()
        return id

    return start


@pytest.mark.smoke
def test_run(ctr: Ctr, id: str) -> None:
    script = "head -n 1; echo err >&2; exit 7"  # ctr can miss the end of a short input
    answer = ctr("run", "--rm", IMAGE, id, "sh", "-c", script, stdin=b"to and fro\n")
    assert (answer.status, answer.stdout, answer.stderr) == (7, "to and fro\n", "err\n")


@pytest.mark.smoke
def test_recipe_of_the_docs(ctr: Ctr) -> None:
    for words in docs.commands("containerd.md", "ctr"):
        installed = ["--runc-binary", docs.INSTALLED]
        if words[0] == "run":
            at = words.index(installed[0])
            assert words[at : at + 2] == installed
            words[at : at + 2] = []
        if words[:2] == ["container", "delete"]:
            wait_until(lambda: status_of(ctr, "web") == "STOPPED")
            ctr("task", "delete", "web")
        answer = ctr(*words).ok()
        if "echo" in words:
            assert answer.text == "hello"


@pytest.mark.smoke
@pytest.mark.feature("run --tty")
def test_run_on_a_terminal(ctr: Ctr, id: str) -> None:
    terminal = ctr.terminal("run", "--rm", "--tty", IMAGE, id, "sh")
    terminal.shell()
    assert terminal.end() == 3


@pytest.mark.smoke
@pytest.mark.feature("run: missing command")
def test_missing_command(ctr: Ctr, id: str) -> None:
    """The runtime's message, from its log."""
    words = 'exec: "no-such-command": executable file not found in $PATH'
    ctr("run", "--rm", IMAGE, id, "no-such-command").fails(words)


@pytest.mark.feature("run --env --cwd --read-only --mount --cap-add --cap-drop --device")
def test_flags(ctr: Ctr, id: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    flags = ["--env", "A=b c", "--cwd", "/usr", "--read-only", "--device", "/dev/kmsg"]
    flags += ["--mount", f"type=bind,src={tmp_path},dst=/mnt,options=rbind:ro"]
    flags += ["--cap-add", "CAP_NET_ADMIN", "--cap-drop", "CAP_CHOWN"]
    script = 'echo "$A"; pwd; cat /mnt/in; stat -c %t,%T /dev/kmsg; grep CapEff /proc/self/status; echo > /f || echo ro'
    lines = ctr("run", "--rm", *flags, IMAGE, id, "sh", "-c", script).lines
    assert lines[:4] == ["b c", "/usr", "from the host", "1,b"]
    capabilities = int(lines[4].split()[1], 16)
    assert (capabilities >> 12 & 1, capabilities & 1) == (1, 0)
    assert lines[5] == "ro"


@pytest.mark.feature("run --memory-limit --cpus")
def test_limits(ctr: Ctr, sleeping: Callable[..., str]) -> None:
    pid = pid_of(ctr, sleeping("--memory-limit", str(64 << 20), "--cpus", "0.5"))
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert cgroup_value(pid, "", "memory.max") == str(64 << 20)
    else:
        assert cgroup_value(pid, "memory", "memory.limit_in_bytes") == str(64 << 20)
        assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us") == "50000"


@pytest.mark.feature("run --seccomp")
def test_seccomp(ctr: Ctr, sleeping: Callable[..., str]) -> None:
    assert proc_status(pid_of(ctr, sleeping("--seccomp")))["Seccomp"] == "2"


@pytest.mark.feature("run --net-host --with-ns")
def test_namespaces(ctr: Ctr, id: str, sleeping: Callable[..., str]) -> None:
    assert ctr.daemon is not None
    text = ctr("run", "--rm", "--net-host", IMAGE, f"{id}-host", "readlink", "/proc/self/ns/net").text
    assert text == namespace(ctr.daemon.process.pid, "net")
    pid = pid_of(ctr, sleeping())
    flags = [f"--with-ns=network:/proc/{pid}/ns/net", f"--with-ns=ipc:/proc/{pid}/ns/ipc"]
    script = "for n in net ipc; do readlink /proc/self/ns/$n; done"
    lines = ctr("run", "--rm", *flags, IMAGE, f"{id}-joined", "sh", "-c", script).lines
    assert lines == [namespace(pid, "net"), namespace(pid, "ipc")]


@pytest.mark.feature("run --uidmap --gidmap")
def test_user_namespace(ctr: Ctr, sleeping: Callable[..., str]) -> None:
    pid = pid_of(ctr, sleeping("--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000"))
    assert proc_status(pid)["Uid"].split()[0] == "100000"


@pytest.mark.feature("run --rootfs --runc-root --pid-file")
def test_places(ctr: Ctr, id: str, rootfs: BusyboxRootfs, tmp_path: Path) -> None:
    # Not with --no-pivot: then ctr forgets the runtime.
    flags = ["--runc-root", f"{tmp_path}/state", "--pid-file", f"{tmp_path}/pid", "--env", f"PATH={PATH}"]
    ctr("run", "--detach", *flags, "--rootfs", str(rootfs.path), id, "sleep", "1000").ok()
    assert int((tmp_path / "pid").read_text()) == pid_of(ctr, id)
    state = ctr.call([ctr.runtime, "--root", f"{tmp_path}/state/tests", "state", id])
    assert json.loads(state.text)["status"] == "running"


@pytest.mark.smoke
def test_task_exec(ctr: Ctr, sleeping: Callable[..., str]) -> None:
    one = sleeping("--env", "A=1")
    script = "cat; echo $A; echo err >&2; exit 5"
    answer = ctr("task", "exec", "--exec-id", "x1", one, "sh", "-c", script, stdin=b"to and fro\n")
    assert (answer.status, answer.stdout, answer.stderr) == (5, "to and fro\n1\n", "err\n")
    flags = ["--user", "1000:1000", "--cwd", "/usr"]
    assert ctr("task", "exec", "--exec-id", "x2", *flags, one, "sh", "-c", "id -u; pwd").lines == ["1000", "/usr"]
    ctr("task", "exec", "--exec-id", "x3", one, "no-such-command").fails("executable file not found in $PATH")
    ctr("task", "exec", "--detach", "--exec-id", "x4", one, "sleep", "2000").ok()
    first = pid_of(ctr, one)
    pids = [int(line.split()[0]) for line in ctr("task", "ps", one).lines[1:]]
    (second,) = [pid for pid in pids if pid != first]
    assert namespaces(second) == namespaces(first)


@pytest.mark.feature("task exec --tty")
def test_task_exec_on_a_terminal(ctr: Ctr, sleeping: Callable[..., str]) -> None:
    terminal = ctr.terminal("task", "exec", "--tty", "--exec-id", "x1", sleeping(), "sh")
    terminal.shell()
    assert terminal.end() == 3


@pytest.mark.smoke
@pytest.mark.feature("task pause, resume")
def test_task_pause(ctr: Ctr, id: str, tmp_path: Path) -> None:
    script = "while :; do echo x >> /mnt/ticks; sleep 0.05; done"
    flags = ["--mount", f"type=bind,src={tmp_path},dst=/mnt,options=rbind:rw"]
    ctr("run", "--detach", *flags, IMAGE, id, "sh", "-c", script).ok()
    ticks = tmp_path / "ticks"
    wait_until(ticks.exists)
    ctr("task", "pause", id).ok()
    assert status_of(ctr, id) == "PAUSED"
    before = ticks.stat().st_size
    time.sleep(0.3)
    assert ticks.stat().st_size == before
    ctr("task", "exec", "--exec-id", "x1", id, "true").fails()
    ctr("task", "resume", id).ok()
    assert status_of(ctr, id) == "RUNNING"
    wait_until(lambda: ticks.stat().st_size > before)


@pytest.mark.smoke
def test_task_metrics(ctr: Ctr, sleeping: Callable[..., str]) -> None:
    one = sleeping("--memory-limit", str(64 << 20))

    def figures() -> str:
        return ctr("task", "metrics", "--format", "json", one).text

    assert str(64 << 20) in figures()
    wait_until(lambda: json.loads(figures())["pids"]["current"] == 1)  # runc's start does not wait for the exec


def test_task_ps(ctr: Ctr, sleeping: Callable[..., str]) -> None:
    one = sleeping()
    assert ctr("task", "ps", one).lines[1].split()[0] == str(pid_of(ctr, one))


@pytest.mark.smoke
def test_task_kill(ctr: Ctr, id: str, tmp_path: Path) -> None:
    script = "trap 'echo got USR1 > /mnt/said' USR1; echo up > /mnt/up; while :; do sleep 0.1; done"
    flags = ["--mount", f"type=bind,src={tmp_path},dst=/mnt,options=rbind:rw"]
    ctr("run", "--detach", *flags, IMAGE, id, "sh", "-c", script).ok()
    wait_until((tmp_path / "up").exists)
    ctr("task", "kill", "--signal", "USR1", id).ok()
    wait_until((tmp_path / "said").exists)
    ctr("task", "kill", "--signal", "KILL", id).ok()
    wait_until(lambda: status_of(ctr, id) == "STOPPED")
    ctr("task", "kill", id).fails("not found")
    assert "exit code 137" in ctr("task", "delete", id).ok().stderr


@pytest.mark.feature("task kill --all, of one that is paused")
def test_task_kill_all(ctr: Ctr, sleeping: Callable[..., str]) -> None:
    one = sleeping()
    ctr("task", "exec", "--detach", "--exec-id", "x1", one, "sleep", "2000").ok()
    ctr("task", "pause", one).ok()
    ctr("task", "kill", "--all", "--signal", "KILL", one).ok()
    wait_until(lambda: status_of(ctr, one) == "STOPPED", timeout=20)

"""checkpoint and restore with the real criu: the container continues, unchanged.

criu supports a new kernel only after a while: if `criu check` fails, these tests are skipped, with the reason.
OCIPY_TEST_CRIU names a criu to use instead of the one in PATH.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, proc_status, process_state, scaled, wait_until
from tests.harness.criu import Counter, mounts_of, nothing, version
from tests.harness.terminal import Console

Check = Callable[[], None]

pytestmark = pytest.mark.usefixtures("criu")


def test_there_and_back(counter: Counter, bundle: Bundle, work: Path) -> None:
    hook = 'echo $0 $(sed -n \'s/.*"status": *"\\([a-z]*\\)".*/\\1/p\') >> ' + str(work / "hooks")
    hooks = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", hook, kind]}]
        for kind in ("prestart", "createRuntime", "poststop")
    }
    bundle.config["hooks"] = hooks
    bundle.linux["resources"]["pids"] = {"limit": 20}
    (work / "data").mkdir()
    (work / "data/file").write_text("hello")
    bundle.mount("/new/data", str(work / "data"), "rbind", "ro")
    bundle.config["root"]["readonly"] = False
    pid = counter.run()
    (work / "hooks").unlink()
    mounts = mounts_of(pid)
    cgroups = Path(f"/proc/{pid}/cgroup").read_text()
    status = kept(pid)
    counter.checkpoint().ok()
    assert counter.runtime.ids() == []
    assert process_state(pid) in ("Z", "")
    assert (work / "hooks").read_text().split()[0] == "poststop"
    before = counter.count

    counter.restore("--pid-file", work / "pid").ok()
    state = counter.runtime.state(counter.id)
    assert state["status"] == "running"
    assert (work / "pid").read_text() == str(state["pid"])
    counter.goes_on(before)
    assert mounts_of(state["pid"]) == mounts
    assert Path(f"/proc/{state['pid']}/cgroup").read_text() == cgroups
    assert kept(state["pid"]) == status
    assert Path(f"/proc/{state['pid']}/root/new/data/file").read_text() == "hello"
    assert [line.split()[0] for line in (work / "hooks").read_text().splitlines()] == [
        "poststop", "prestart", "createRuntime",
    ]  # fmt: skip

    # Again: a restored container can be checkpointed.
    before = counter.count
    shutil.rmtree(counter.images)
    counter.checkpoint().ok()
    counter.restore().ok()
    counter.goes_on(before)


def kept(pid: int) -> dict[str, str]:
    """The properties of the process that must not change."""
    names = {"CapEff", "CapBnd", "CapPrm", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"}
    if version() < (3, 19):
        names.remove("NoNewPrivs")  # criu pull request 2228
    return {name: value for name, value in proc_status(pid).items() if name in names}


@pytest.mark.differs_from_runc("criu leaves the root writable, and the second of two mounts that are read-only")
def test_read_only_mounts_stay_read_only(counter: Counter, work: Path) -> None:
    (work / "data").mkdir()
    for name in ("one", "other"):
        counter.bundle.mount(f"/new/{name}", str(work / "data"), "rbind", "ro", "nosuid")
    mounts = mounts_of(counter.run())
    counter.checkpoint().ok()
    counter.restore().ok()
    after = mounts_of(counter.pid)
    assert after == mounts
    places = ("/", "/new/one", "/new/other")
    assert [options.split(",")[0] for point, _, options in after if point in places] == ["ro", "ro", "ro"]


def test_pipes_are_those_of_the_restore(counter: Counter) -> None:
    counter.bundle.sh("trap 'exit 7' USR1; echo 1 > /count/n; while read line; do echo got $line; done")
    pipes = [os.pipe() for _ in range(2)]
    counter.run(stdin=pipes[0][0], stdout=pipes[1][1])
    counter.checkpoint().ok()
    for pair in pipes:
        for fd in pair:
            os.close(fd)
    (reading, ours), (output, writing) = os.pipe(), os.pipe()
    counter.restore(stdin=reading, stdout=writing).ok()
    os.close(reading)
    os.close(writing)
    os.write(ours, b"a word\n")
    os.close(ours)
    with os.fdopen(output) as file:
        assert file.read() == "got a word\n"


@pytest.mark.ocipy_only("runc's restore gives the container its own pipes in the foreground")
def test_the_foreground_ends_with_the_status_of_the_process(counter: Counter, assert_nothing_left: Check) -> None:
    counter.run()
    counter.checkpoint().ok()
    before = counter.count
    running = counter.begin_restore()
    counter.goes_on(before)
    # The processes run before restore has recorded it.
    wait_until(lambda: counter.runtime.state(counter.id)["status"] == "running")
    running.signal(signal.SIGUSR1)
    assert running.wait().status == 7
    assert_nothing_left()


def test_a_terminal(counter: Counter, work: Path) -> None:
    counter.bundle.process["terminal"] = True
    counter.bundle.sh("echo 1 > /count/n; while read line; do echo got $line; done")
    first, second = Console(work / "first"), Console(work / "second")
    counter.run("--console-socket", first.path)
    first.accept()
    counter.checkpoint().ok()
    first.close()
    counter.restore("--console-socket", second.path).ok()
    master = second.accept()
    os.write(master, b"a word\n")
    said = b""
    while b"got a word" not in said:
        said += os.read(master, 4096)
    second.close()


def test_a_paused_container(counter: Counter) -> None:
    counter.run()
    counter.runtime.call("pause", counter.id).ok()
    counter.checkpoint().ok()
    before = counter.count
    counter.restore().ok()
    assert counter.runtime.state(counter.id)["status"] == "running"
    counter.goes_on(before)


def test_a_joined_network_namespace(counter: Counter) -> None:
    """A process keeps it alive, as in a pod."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    try:
        path = f"/proc/{holder.pid}/ns/net"
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(path) != own, "the namespace")
        counter.bundle.without_namespace("network")
        counter.bundle.linux["namespaces"].append({"type": "network", "path": path})
        pid = counter.run()
        assert os.readlink(f"/proc/{pid}/ns/net") == os.readlink(path)
        counter.checkpoint().ok()
        before = counter.count
        counter.restore().ok()
        assert os.readlink(f"/proc/{counter.pid}/ns/net") == os.readlink(path)
        counter.goes_on(before)
        counter.runtime.delete(counter.id, force=True).ok()
    finally:
        holder.kill()
        holder.wait()


def test_another_cgroup(counter: Counter) -> None:
    counter.run()
    counter.checkpoint("--manage-cgroups-mode", "ignore").ok()
    counter.bundle.linux["cgroupsPath"] += "-other"
    counter.bundle.write()
    counter.restore("--manage-cgroups-mode", "ignore").ok()
    assert Path(f"/proc/{counter.pid}/cgroup").read_text().strip().endswith("-other")


def test_a_user_namespace(counter: Counter) -> None:
    counter.bundle.user_namespace().searchable()
    (counter.bundle.rootfs / "count").mkdir()  # its root may not
    (counter.work / "count").chmod(0o777)
    pid = counter.run()
    maps = Path(f"/proc/{pid}/uid_map").read_text()
    counter.checkpoint().ok()
    before = counter.count
    counter.images.chmod(0o700)
    failed = counter.restore()
    if failed.status:
        failed.fails("Permission denied", "criu")
    counter.images.chmod(0o711)  # the container's root reads them
    counter.restore().ok()
    assert Path(f"/proc/{counter.pid}/uid_map").read_text() == maps
    counter.goes_on(before)


def test_processes_that_exec_has_started(counter: Counter) -> None:
    """The images include processes that the container's init has adopted. One with a parent outside is killed."""
    counter.run()
    script = "sleep 1234 < /dev/null > /dev/null 2>&1 &"
    counter.runtime.call("exec", counter.id, "sh", "-c", script, **nothing()).ok()
    counter.checkpoint().ok()
    counter.restore().ok()
    assert "sleep 1234" in counter.commands()
    sleeping = counter.runtime.begin("exec", counter.id, "sleep", "2345", **nothing())
    wait_until(lambda: "sleep 2345" in counter.commands(), "what exec runs")
    counter.checkpoint().ok()
    assert sleeping.wait().status == 128 + signal.SIGKILL
    counter.restore().ok()
    assert "sleep 1234" in counter.commands()
    assert "sleep 2345" not in counter.commands()


@pytest.mark.needs_cgroup_v1
def test_the_cgroups_of_v1_without_a_namespace(counter: Counter) -> None:
    """Then the mount shows the container's cgroups: bind mounts from the host."""
    counter.bundle.without_namespace("cgroup")
    mounts = mounts_of(counter.run())
    assert any(point.startswith("/sys/fs/cgroup/") for point, _, _ in mounts)
    counter.checkpoint().ok()
    before = counter.count
    counter.restore().ok()
    assert mounts_of(counter.pid) == mounts
    counter.goes_on(before)


@pytest.mark.needs_systemd
def test_a_unit_of_systemd(counter: Counter) -> None:
    """The restore makes the unit again, with the restored processes; it stops whenever the container ends."""
    unit = f"ocipy-{counter.id}.scope"
    counter.bundle.linux["cgroupsPath"] = f":ocipy:{counter.id}"
    counter.globals.append("--systemd-cgroup")
    counter.run()
    counter.checkpoint().ok()
    assert unit not in units()
    before = counter.count
    counter.restore().ok()
    assert unit in units()
    assert f"/{unit}\n" in Path(f"/proc/{counter.pid}/cgroup").read_text()
    counter.goes_on(before)
    counter.runtime.delete(counter.id, force=True).ok()
    assert unit not in units()


def units() -> str:
    """systemd's scopes."""
    command = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=scope"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=scaled(30)).stdout


def test_the_images_of_another_runtime(counter: Counter, host: object) -> None:
    """ocipy restores runc's checkpoints: both use the same keys for external resources."""
    other = shutil.which("runc", path="/opt/runc152:/usr/local/sbin:/usr/sbin:/usr/bin")
    if other is None:
        pytest.skip("needs the program runc")
    ours, counter.runtime.path = counter.runtime.path, other
    try:
        counter.run()
        counter.checkpoint().ok()
    finally:
        counter.runtime.path = ours
    before = counter.count
    counter.restore().ok()
    counter.goes_on(before)

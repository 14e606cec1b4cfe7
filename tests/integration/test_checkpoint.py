"""checkpoint and restore with criu itself: what goes on, and what is as it was.

criu takes its time to support a kernel: where `criu check` fails all of this is left out, with the reason.
OCIPY_TEST_CRIU is another criu than that in PATH.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Result, Runtime, process_state, scaled, wait_until
from tests.harness.runtime import ENVIRONMENT
from tests.harness.terminal import Console

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
Check = Callable[[], None]

# Ends with 7 when told to, and counts in its memory: what it counts after a restore goes on from before.
COUNTER = """
trap 'exit 7' USR1
i=0
while true; do i=$((i + 1)); echo $i > /count/n; sleep 0.2; done
"""


CRIU = os.environ.get("OCIPY_TEST_CRIU") or shutil.which("criu") or ""
SEARCHED = {"PATH": f"{os.path.dirname(CRIU)}:{ENVIRONMENT['PATH']}"}


def _reason() -> str:
    """Why criu does not work here, "" if it does."""
    if not CRIU:
        return "needs the program criu"
    if os.geteuid() != 0:
        return "needs root"
    checked = subprocess.run([CRIU, "check"], capture_output=True, text=True, timeout=scaled(60), check=False)
    if checked.returncode == 0:
        return ""
    said = next((line for line in checked.stderr.splitlines() if "Error" in line), "it does not say why")
    return f"needs a kernel that criu works on; `criu check`: {said}"


@pytest.fixture(scope="session", autouse=True)
def criu() -> None:
    reason = _reason()
    if reason:
        pytest.skip(reason)


class Checkpointed:
    """A container that counts, with the paths of its images; removed at the end."""

    def __init__(self, runtime: Runtime, bundle: Bundle, work: Path, id: str) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.id = id
        self.work = work
        self.images = work / "images"
        self.globals: list[str | Path] = ["--log", work / "log"]
        (work / "count").mkdir(exist_ok=True)
        bundle.mount("/count", str(work / "count"), "rbind")

    def run(self, *flags: str | Path, **options: Any) -> int:
        """Run it detached, without a stream that is a file of the host's; the pid once it counts."""
        self.bundle.write()
        command = ["run", "--detach", "--bundle", self.bundle.path, *flags, self.id]
        self._quiet(*command, **options).ok()
        wait_until(lambda: self.count > 0, "the first count")
        return self.pid

    @property
    def pid(self) -> int:
        return int(self.runtime.state(self.id)["pid"])

    @property
    def count(self) -> int:
        """What it has written last."""
        file = self.work / "count/n"
        text = file.read_text() if file.exists() else ""
        return int(text) if text.strip() else 0

    def checkpoint(self, *flags: str | Path, **options: Any) -> Result:
        command: list[str | Path] = ["checkpoint", "--image-path", self.images, "--work-path", self.work / "w"]
        return self.runtime.call(*command, *flags, self.id, timeout=60, env=SEARCHED, **options)

    def restore(self, *flags: str | Path, **options: Any) -> Result:
        """Restore it detached."""
        command: list[str | Path] = ["restore", "--detach", "--bundle", self.bundle.path]
        command += ["--image-path", self.images, "--work-path", self.work / "w"]
        return self._quiet(*command, *flags, self.id, timeout=60, env=SEARCHED, **options)

    def _quiet(self, *command: str | Path, **options: Any) -> Result:
        """A call whose streams become the container's: what it has to say is in its log."""
        log = self.work / "log"
        result = self.runtime.call(*command, globals=self.globals, **{**nothing(), **options})
        result.stderr = result.stderr or (log.read_text() if log.exists() else "")
        return result

    def goes_on(self, before: int) -> None:
        """Assert that it counts on from there."""
        wait_until(lambda: self.count > before, "a higher count", 20)

    def commands(self) -> str:
        """The command lines in its pid namespace."""
        lines = []
        for pid in children(self.pid):
            line = Path(f"/proc/{pid}/cmdline")
            lines.append(line.read_bytes().replace(b"\0", b" ").decode().strip() if line.exists() else "")
        return "\n".join(lines)

    def log(self, name: str) -> str:
        return (self.work / "w" / name).read_text(errors="replace")


def children(init: int) -> list[int]:
    """The processes in the pid namespace of an init."""
    namespace = os.readlink(f"/proc/{init}/ns/pid")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "ns/pid") == namespace:
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def nothing() -> dict[str, Any]:
    """/dev/null for all streams."""
    return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture
def counter(runtime: Runtime, bundle: Bundle, work: Path, new_id: NewId) -> Iterator[Checkpointed]:
    one = Checkpointed(runtime, bundle.sh(COUNTER), work, new_id())
    yield one
    runtime.delete(one.id, force=True).ok()
    reap()


def reap() -> None:
    """The orphans of the runtime are the test's children."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def mounts_of(pid: int) -> list[tuple[str, str, str]]:
    """(mount point, type, options) of all mounts, but for what criu restores in another order."""
    lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return sorted((line[4], line[line.index("-") + 1], line[5]) for line in lines)


def test_there_and_back(counter: Checkpointed, bundle: Bundle, work: Path) -> None:
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

    # And once more: what was restored can be checkpointed.
    before = counter.count
    shutil.rmtree(counter.images)
    counter.checkpoint().ok()
    counter.restore().ok()
    counter.goes_on(before)


def kept(pid: int) -> dict[str, str]:
    """What is to be of the process as it was."""
    names = {"CapEff", "CapBnd", "CapPrm", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"}
    said = subprocess.run([CRIU, "--version"], capture_output=True, text=True, timeout=scaled(60), check=True).stdout
    major, minor = (int(number) for number in said.split()[1].split(".")[:2])
    if (major, minor) < (3, 19):
        names.remove("NoNewPrivs")  # criu pull request 2228
    return {name: value for name, value in status_of(pid).items() if name in names}


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.differs_from_runc("criu leaves the root writable, and the second of two mounts that are read-only")
def test_what_is_read_only_stays_so(counter: Checkpointed, work: Path) -> None:
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


def test_leave_running(counter: Checkpointed) -> None:
    pid = counter.run()
    counter.checkpoint("--leave-running").ok()
    assert (counter.pid, counter.runtime.state(counter.id)["status"]) == (pid, "running")
    counter.goes_on(counter.count)
    counter.runtime.delete(counter.id, force=True).ok()
    counter.restore().ok()
    counter.goes_on(1)


def test_a_chain_of_dumps(counter: Checkpointed, work: Path) -> None:
    checked = subprocess.run([CRIU, "check", "--feature", "mem_dirty_track"], capture_output=True, check=False)
    if checked.returncode:
        pytest.skip("needs a kernel that tracks changes of memory (criu check --feature mem_dirty_track)")
    pid = counter.run()
    counter.images = work / "parent"
    counter.checkpoint("--pre-dump").ok()
    assert (counter.pid, counter.runtime.state(counter.id)["status"]) == (pid, "running")
    counter.images = work / "images"
    counter.checkpoint("--parent-path", "../parent").ok()
    assert (counter.images / "parent").is_symlink()
    before = counter.count
    counter.restore().ok()
    counter.goes_on(before)


def test_pipes_are_those_of_the_restore(counter: Checkpointed) -> None:
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


@pytest.mark.ocipy_only("runc's restore gives the container pipes of its own in the foreground")
def test_the_foreground_ends_with_the_status_of_the_process(counter: Checkpointed, assert_nothing_left: Check) -> None:
    counter.run()
    counter.checkpoint().ok()
    before = counter.count
    running = counter.runtime.begin(
        "restore",
        "--bundle",
        counter.bundle.path,
        "--image-path",
        counter.images,
        counter.id,
        env=SEARCHED,
        **nothing(),
    )
    counter.goes_on(before)
    assert counter.runtime.state(counter.id)["status"] == "running"
    running.signal(signal.SIGUSR1)
    assert running.wait().status == 7
    assert_nothing_left()


def test_a_terminal(counter: Checkpointed, work: Path) -> None:
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


def test_a_paused_container(counter: Checkpointed) -> None:
    counter.run()
    counter.runtime.call("pause", counter.id).ok()
    counter.checkpoint().ok()
    before = counter.count
    counter.restore().ok()
    assert counter.runtime.state(counter.id)["status"] == "running"
    counter.goes_on(before)


def test_a_joined_network_namespace(counter: Checkpointed) -> None:
    """Held by a process, as that of a pod is."""
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


def test_another_cgroup(counter: Checkpointed) -> None:
    counter.run()
    counter.checkpoint("--manage-cgroups-mode", "ignore").ok()
    counter.bundle.linux["cgroupsPath"] += "-other"
    counter.bundle.write()
    counter.restore("--manage-cgroups-mode", "ignore").ok()
    assert Path(f"/proc/{counter.pid}/cgroup").read_text().strip().endswith("-other")


def test_a_user_namespace(counter: Checkpointed) -> None:
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
    counter.images.chmod(0o711)  # it is the container's root that reads them
    counter.restore().ok()
    assert Path(f"/proc/{counter.pid}/uid_map").read_text() == maps
    counter.goes_on(before)


def test_what_exec_has_started(counter: Checkpointed) -> None:
    """What it has left to the container's init is in the images; what still has its parent outside ends."""
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
def test_the_cgroups_of_v1_without_a_namespace(counter: Checkpointed) -> None:
    """The mount is of the container's own cgroups then: bind mounts, which are the host's."""
    counter.bundle.without_namespace("cgroup")
    mounts = mounts_of(counter.run())
    assert any(point.startswith("/sys/fs/cgroup/") for point, _, _ in mounts)
    counter.checkpoint().ok()
    before = counter.count
    counter.restore().ok()
    assert mounts_of(counter.pid) == mounts
    counter.goes_on(before)


def test_connections_need_the_flag(counter: Checkpointed) -> None:
    counter.bundle.sh("(sleep 1000 | nc -l -p 80) & sleep 1; (sleep 1000 | nc 127.0.0.1 80) & " + COUNTER)
    counter.run()
    connected = "01"  # TCP_ESTABLISHED in /proc/net/tcp
    wait_until(lambda: f" {connected} " in (Path(f"/proc/{counter.pid}/net/tcp").read_text()), "the connection")
    result = counter.checkpoint()
    result.fails("criu")
    if counter.runtime.is_ocipy:
        result.fails("Connected TCP socket", "give --tcp-established, here and at the restore")
    assert counter.runtime.state(counter.id)["status"] == "running"


@pytest.mark.needs_systemd
def test_a_unit_of_systemd(counter: Checkpointed) -> None:
    """The unit is made anew, with the restored processes in it, and stopped each time that the container goes."""
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
    """The scopes that systemd knows."""
    command = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=scope"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=scaled(30)).stdout


def test_a_broken_image(counter: Checkpointed, assert_nothing_left: Check) -> None:
    counter.run()
    counter.checkpoint().ok()
    (counter.images / "core-1.img").write_bytes(b"")
    counter.restore(stderr=None).fails("criu")
    assert "Error" in counter.log("restore.log")
    reap()
    assert_nothing_left()


@pytest.mark.ocipy_only("runc leaves what it has made, and its mounts")
def test_a_restore_is_killed(counter: Checkpointed, assert_nothing_left: Check) -> None:
    """In a hook of the moment at which the namespaces are there, and the first process."""
    counter.run()
    counter.checkpoint().ok()
    hanging = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $$ > {counter.work}/hook; exec sleep 1000"]}
    counter.bundle.config["hooks"] = {"createRuntime": [hanging]}
    counter.bundle.write()
    running = counter.runtime.begin(
        "restore",
        "--bundle",
        counter.bundle.path,
        "--image-path",
        counter.images,
        counter.id,
        env=SEARCHED,
        **nothing(),
    )
    wait_until(lambda: (counter.work / "hook").exists() and (counter.work / "hook").read_text(), "the hook", 60)
    running.signal(signal.SIGKILL)
    running.process.wait()
    # criu may have seen already that nobody talks to it, and given up.
    assert counter.runtime.state(counter.id)["status"] in ("creating", "stopped")
    counter.runtime.delete(counter.id, force=True).ok()
    os.kill(int((counter.work / "hook").read_text()), signal.SIGKILL)
    wait_until(lambda: not _living_children(), "the end of criu")
    assert_nothing_left()


def _living_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


def test_the_images_of_another_runtime(counter: Checkpointed, host: object) -> None:
    """What runc has checkpointed is restored here: the keys of what is external are the same."""
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


def test_a_file_of_the_hosts_is_an_error_that_says_so(counter: Checkpointed, work: Path) -> None:
    """And the container goes on, and keeps its cgroup and state."""
    with (work / "output").open("wb") as output:
        counter.run(stderr=output.fileno())
    result = counter.checkpoint()
    result.fails("criu")
    if counter.runtime.is_ocipy:
        result.fails("Can't lookup mount", "w/dump.log", "a file of the host's is open")
    assert counter.runtime.state(counter.id)["status"] == "running"
    counter.goes_on(counter.count)

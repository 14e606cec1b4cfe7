"""A restore somewhere else: other sources of mounts, another id, joined namespaces, another caller."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import namespace, scaled, wait_until
from tests.harness.agent import PYTHON
from tests.harness.criu import SEARCHED, Asked, Counter
from tests.harness.leaks import reap
from tests.harness.terminal import Console

pytestmark = pytest.mark.usefixtures("criu")


def test_other_sources_of_mounts(asked: Asked, work: Path) -> None:
    """As on another machine: the sources of bind mounts come from the new config. They may be files, even open ones."""
    (work / "one").mkdir()
    (work / "one/file").write_text("the text of one")
    (work / "single").write_text("a single file")
    asked.bundle.mount("/data", str(work / "one"), "rbind", "ro").mount("/etc/single", str(work / "single"), "bind")
    asked.run()
    asked.ask("file = open('/data/file', 'rb', buffering=0); file.read(4)")
    asked.checkpoint().ok()
    shutil.copytree(work / "one", work / "moved")
    shutil.rmtree(work / "one")
    (work / "single").rename(work / "renamed")
    for mount in asked.bundle.config["mounts"]:
        mount["source"] = {str(work / "one"): str(work / "moved"), str(work / "single"): str(work / "renamed")}.get(
            mount["source"], mount["source"]
        )
    asked.bundle.write()
    asked.restore().ok()
    assert asked.ask("file.read().decode()") == "text of one"
    assert asked.ask("open('/etc/single').read()") == "a single file"
    (work / "moved/new").write_text("new")
    assert asked.ask("open('/data/new').read()") == "new"


def test_a_source_that_is_missing(asked: Asked, work: Path) -> None:
    (work / "one").mkdir()
    asked.bundle.mount("/data", str(work / "one"))
    asked.run()
    asked.checkpoint().ok()
    (work / "one").rmdir()
    failed = asked.restore()
    failed.fails(str(work / "one"), "No such file or directory")
    assert asked.id not in asked.runtime.ids()
    (work / "one").mkdir()
    asked.restore().ok()
    assert asked.ask("1 + 1") == 2


def test_another_id(counter: Counter) -> None:
    pid = counter.run()
    counter.checkpoint().ok()
    first, before = counter.id, counter.count
    counter.id += "-2"
    counter.bundle.linux["cgroupsPath"] += "-2"
    counter.bundle.write()
    counter.restore("--pid-file", counter.work / "pid").ok()
    assert counter.runtime.ids() == [counter.id]
    assert counter.pid == int((counter.work / "pid").read_text())
    assert Path(f"/proc/{counter.pid}/cgroup").read_text().strip().endswith("-2")
    counter.goes_on(before)
    counter.runtime.call("exec", counter.id, "true").ok()
    assert first != counter.id and not Path(f"/proc/{pid}/root").exists()


def test_two_containers_from_one_checkpoint(counter: Counter) -> None:
    """The images are not changed."""
    counter.run()
    counter.checkpoint().ok()
    images = {path.name: path.read_bytes() for path in counter.images.glob("*.img")}
    counter.restore().ok()
    first, pid = counter.id, counter.pid
    counter.id += "-2"
    counter.bundle.linux["cgroupsPath"] += "-2"
    counter.bundle.write()
    counter.restore().ok()
    try:
        assert sorted(counter.runtime.ids()) == sorted([first, counter.id])
        assert namespace(pid, "pid") != namespace(counter.pid, "pid")
        assert {path.name: path.read_bytes() for path in counter.images.glob("*.img")} == images
        counter.runtime.delete(first, force=True).ok()
        counter.goes_on(counter.count)
    finally:
        counter.runtime.delete(first, force=True)


def test_the_id_of_a_running_container(counter: Counter) -> None:
    pid = counter.run()
    counter.checkpoint("--leave-running").ok()
    counter.restore(stderr=None).fails("already exists")
    assert (counter.pid, counter.status) == (pid, "running")
    counter.goes_on(counter.count)


@pytest.fixture
def holder() -> Iterator[int]:
    """A process with new namespaces, like the one that keeps a pod's alive."""
    process = subprocess.Popen(["unshare", "--net", "--ipc", "--uts", "sleep", "1000"])
    own = namespace("self", "uts")
    wait_until(lambda: namespace(process.pid, "uts") != own, "the namespaces")
    yield process.pid
    process.kill()
    process.wait()


def test_namespaces_of_a_pod(counter: Counter, holder: int) -> None:
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts"}
    counter.bundle.without_namespace(*kinds)
    del counter.bundle.config["hostname"]
    counter.bundle.linux["namespaces"] += [
        {"type": kind, "path": f"/proc/{holder}/ns/{name}"} for kind, name in kinds.items()
    ]
    counter.run()
    counter.checkpoint().ok()
    before = counter.count
    counter.restore().ok()
    for name in kinds.values():
        assert namespace(counter.pid, name) == namespace(holder, name)
    counter.goes_on(before)
    counter.runtime.delete(counter.id, force=True).ok()


def test_another_network_namespace(counter: Counter, holder: int) -> None:
    """An engine creates a new one for the restore, and writes its path into the config."""
    counter.bundle.without_namespace("network")
    counter.bundle.linux["namespaces"].append({"type": "network", "path": f"/proc/{holder}/ns/net"})
    counter.run()
    counter.checkpoint().ok()
    before = counter.count
    other = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    try:
        own = namespace("self", "net")
        wait_until(lambda: namespace(other.pid, "net") != own, "the namespace")
        counter.bundle.linux["namespaces"][-1]["path"] = f"/proc/{other.pid}/ns/net"
        counter.bundle.write()
        counter.restore().ok()
        assert namespace(counter.pid, "net") == namespace(other.pid, "net")
        counter.goes_on(before)
        counter.runtime.delete(counter.id, force=True).ok()
    finally:
        other.kill()
        other.wait()


REAPER = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); signal.pause()"


def test_the_pid_namespace_of_another_container(counter: Counter) -> None:
    """Its first process belongs to another container, so this container's has a pid other than 1."""
    # It reaps the container's orphans, as a pod's first process does: until then their pids are not free.
    holder = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", PYTHON, "-c", REAPER])
    try:
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        wait_until(lambda: children.read_text().strip(), "the first process")
        path = f"/proc/{children.read_text().split()[0]}/ns/pid"
        counter.bundle.without_namespace("pid")
        counter.bundle.linux["namespaces"].append({"type": "pid", "path": path})
        counter.run()
        inner = Path(f"/proc/{counter.pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1]
        counter.checkpoint().ok()
        reap()
        before = counter.count
        counter.restore().ok()
        assert os.readlink(f"/proc/{counter.pid}/ns/pid") == os.readlink(path)
        assert Path(f"/proc/{counter.pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == inner
        counter.goes_on(before)
        counter.runtime.delete(counter.id, force=True).ok()
    finally:
        holder.kill()
        holder.wait()


def test_a_user_and_a_terminal(counter: Counter, work: Path) -> None:
    """All at once: a user namespace, a terminal, detached, a pid file."""
    counter.bundle.user_namespace()
    (counter.bundle.rootfs / "count").mkdir()
    (counter.work / "count").chmod(0o777)
    counter.bundle.process["terminal"] = True
    counter.bundle.sh("echo 1 > /count/n; while read line; do echo got $line; done")
    first, second = Console(work / "first"), Console(work / "second")
    counter.run("--console-socket", first.path)
    first.accept()
    counter.checkpoint("--shell-job").ok()
    first.close()
    counter.images.chmod(0o711)
    counter.restore("--shell-job", "--console-socket", second.path, "--pid-file", work / "pid").ok()
    assert int((work / "pid").read_text()) == counter.pid
    master = second.accept()
    os.write(master, b"a word\n")
    said = b""
    while b"got a word" not in said:
        assert select.select([master], [], [], scaled(20))[0], said
        said += os.read(master, 4096)
    second.close()


def test_a_caller_that_has_closed_its_streams(counter: Counter) -> None:
    """Streams that the caller has closed come from the checkpoint or stay closed; the restore succeeds."""
    counter.run()
    counter.checkpoint().ok()
    before = counter.count
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    words: list[str | Path] = ["restore", "--detach", "--bundle", counter.bundle.path, "--image-path", counter.images]
    result = counter.runtime.call(*words, counter.id, prefix=closing, globals=counter.globals, env=SEARCHED)
    assert result.status == 0, (counter.work / "log").read_text()
    counter.goes_on(before)

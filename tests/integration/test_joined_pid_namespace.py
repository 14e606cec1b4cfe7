"""A container in another's pid namespace: its process is complete, although init enters the namespace last."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Runtime
from tests.harness.terminal import Console, read_until

MakeContainer = Callable[..., Container]
NewId = Callable[..., str]


@pytest.fixture
def joined(container: MakeContainer, make_bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle that joins the pid namespace of a running container."""
    one = container(make_bundle().args("sleep", "1000")).start()
    return make_bundle().join_pid_namespace(one.pid)


def test_its_procfs_shows_the_joined_namespace(runtime: Runtime, joined: Bundle, new_id: NewId) -> None:
    joined.sh("readlink /proc/self; echo $$; cat /proc/1/cmdline | tr '\\0' ' '; echo; cut -d' ' -f6 /proc/self/stat")
    own, shell, first, session = runtime.run(joined, new_id()).ok().lines
    assert own.isdigit() and int(shell) > 1
    assert first.strip() == "sleep 1000"
    assert session == shell, "it leads its own session"


def test_options_of_its_procfs(runtime: Runtime, joined: Bundle, new_id: NewId) -> None:
    proc = next(mount for mount in joined.config["mounts"] if mount["destination"] == "/proc")
    proc["options"] = ["nosuid", "noexec", "nodev", "hidepid=2,gid=5"]
    (line,) = runtime.run(joined.sh("grep ' /proc proc ' /proc/mounts"), new_id()).ok().lines
    assert {"nosuid", "noexec", "nodev", "gid=5", "hidepid=invisible"} <= set(line.split()[3].split(","))


def test_an_option_that_its_procfs_does_not_accept(runtime: Runtime, joined: Bundle, new_id: NewId) -> None:
    proc = next(mount for mount in joined.config["mounts"] if mount["destination"] == "/proc")
    proc["options"] = ["size=1"]
    runtime.run(joined.args("true"), new_id()).fails("/mounts/", "proc", "size=1")


def test_its_terminal_controls_its_session(container: MakeContainer, joined: Bundle, console: Console) -> None:
    joined.process["terminal"] = True
    script = "tty; cut -d' ' -f7 /proc/self/stat; echo typed >/dev/tty; echo end; exec sleep 1000"
    one = container(joined, "--console-socket", console.path, sh=script)
    master = console.accept()
    one.start()
    name, controlling, typed, _ = read_until(master, "end\n").splitlines()
    assert (name, int(controlling), typed) == ("/dev/pts/0", 0x8800, "typed")
    one.end()


@pytest.mark.parametrize("place", ["pids", "unified"])
def test_a_limit_of_one_process(runtime: Runtime, joined: Bundle, new_id: NewId, host: Any, place: str) -> None:
    """Init forks before it takes effect."""
    if place == "unified" and host.cgroup != "v2":
        pytest.skip("unified resources of the pids controller need cgroup v2")
    limit: dict[str, Any] = {"pids": {"limit": 1}} if place == "pids" else {"unified": {"pids.max": "1"}}
    joined.linux.setdefault("resources", {}).update(limit)
    if host.cgroup == "v2" and "pids" not in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split():
        pytest.skip("the pids controller is not on the v2 hierarchy")
    assert runtime.run(joined.sh("echo one; (:)"), new_id()).lines == ["one"]


def test_offsets_of_its_time_namespace(runtime: Runtime, joined: Bundle, new_id: NewId) -> None:
    joined.linux["namespaces"].append({"type": "time"})
    joined.linux["timeOffsets"] = {"boottime": {"secs": 864000}}
    before = float(Path("/proc/uptime").read_text().split()[0])
    (line,) = runtime.run(joined.args("cat", "/proc/uptime"), new_id()).ok().lines
    assert 0 <= float(line.split()[0]) - before - 864000 < 60


def test_its_hooks_know_a_process_in_its_namespaces(
    container: MakeContainer, joined: Bundle, work: Path, new_id: NewId
) -> None:
    """Before the pivot this is not its final process, which is not in the pid namespace yet."""
    script = "sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'"
    said = {kind: work / kind for kind in ("prestart", "createRuntime", "poststart")}
    joined.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"p=$({script}); readlink /proc/$p/ns/net >{path}"]}]
        for kind, path in said.items()
    }
    one = container(joined.args("sleep", "1000")).start()
    network = os.readlink(f"/proc/{one.pid}/ns/net")
    assert network != os.readlink("/proc/self/ns/net")
    assert {path.read_text().strip() for path in said.values()} == {network}
    one.end()


@pytest.mark.parametrize(("cwd", "command"), [("/etc/passwd/x", "true"), ("/", "no-such-command")])
def test_a_failed_create_leaves_nothing(
    runtime: Runtime, joined: Bundle, new_id: NewId, cwd: str, command: str
) -> None:
    """Neither before nor after the fork; the harness looks for leftovers."""
    joined.process["cwd"] = cwd
    runtime.create(joined.args(command), new_id()).fails(cwd if command == "true" else command)

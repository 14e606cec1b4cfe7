"""The state machine of runtime.md: create, start, state, kill, delete, and their refusals."""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, proc_status, process_state, wait_until

MakeContainer = Callable[..., Container]


@pytest.mark.smoke
def test_whole_life(container: MakeContainer) -> None:
    one = container(sh="echo working; exec sleep 1000")
    assert one.status == "created"
    assert one.stdout == ""
    one.start()
    assert one.status == "running"
    one.wait_output("working")
    one.kill("KILL").wait_dead()
    assert one.status == "stopped"
    one.runtime.delete(one.id).ok()
    assert one.runtime.ids() == []
    one.runtime.call("state", one.id).fails("does not exist")


def test_commands_are_silent(container: MakeContainer) -> None:
    """The output of a command appears on the terminal of the engine's user."""
    one = container()
    for words in (("start", one.id), ("kill", one.id, "KILL"), ("delete", "--force", one.id)):
        result = one.runtime.call(*words).ok()
        assert (result.stdout, result.stderr) == ("", ""), repr(result)


def test_state_document(container: MakeContainer, bundle: Bundle) -> None:
    bundle.args("sleep", "1000")
    bundle.config["annotations"] = {
        "org.example.one": "1",
        "org.example.text": 'ü "quoted"\nline',
        "org.example.none": "",
    }
    one = container(bundle)
    document = one.state()
    assert re.fullmatch(r"1\.\d+\.\d+([-+].*)?", document["ociVersion"])
    assert document["id"] == one.id
    assert document["status"] == "created"
    assert document["pid"] == one.pid > 1
    assert document["bundle"] == str(bundle.path)
    assert document["annotations"] == bundle.config["annotations"]
    # Engines parse it as RFC 3339, with a time zone.
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", document["created"])
    one.start()
    running = one.state()
    assert {**document, "status": "running"} == running
    one.kill().wait_dead()
    stopped = one.state()
    assert stopped["status"] == "stopped"
    assert stopped.get("pid", 0) == 0
    assert stopped["annotations"] == bundle.config["annotations"]


def test_state_without_annotations_has_no_list(container: MakeContainer) -> None:
    assert container().state().get("annotations", {}) == {}


def test_bundle_is_the_current_directory_by_default(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]
) -> None:
    id = new_id()
    bundle.sh("echo here").write()
    runtime.call("create", id, cwd=bundle.path).ok()
    assert runtime.state(id)["bundle"] == str(bundle.path)
    runtime.delete(id, force=True).ok()


def test_init_is_alive_but_runs_nothing_before_start(container: MakeContainer, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    one = container(bundle, sh="echo begun; exec sleep 1000")
    time.sleep(0.05)
    assert one.stdout == ""
    assert process_state(one.pid) == "S"
    assert one.proc("cmdline").read_bytes().split(b"\0")[0] != b"sh"


@pytest.mark.parametrize("phase", ["running", "stopped"])
def test_start_needs_a_created_container(container: MakeContainer, phase: str) -> None:
    one = container().start()
    if phase == "stopped":
        one.kill().wait_dead()
    sentence = {
        "running": "cannot start an already running container",
        "stopped": "cannot start a container that has stopped",
    }
    one.runtime.start(one.id).fails(sentence[phase])
    assert one.status == phase


def test_start_of_a_container_that_has_died(container: MakeContainer) -> None:
    """The FIFO still exists, without a reader: start fails, and does not hang."""
    one = container()
    os.kill(one.pid, signal.SIGKILL)
    one.wait_dead()
    one.runtime.start(one.id, timeout=10).fails()
    assert one.status == "stopped"


@pytest.mark.parametrize(
    ("name", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("15", 15), ("term", 15), ("sigusr1", 10), ("USR2", 12), ("", 15), (None, 15)],
)
def test_signal_names(container: MakeContainer, name: str | None, number: int) -> None:
    script = 'for s in TERM USR1 USR2 HUP; do trap "echo got $s" $s; done; echo ready; while :; do sleep 0.05; done'
    one = container(sh=script).start()
    one.wait_output("ready")
    one.runtime.kill(one.id, name).ok()
    one.wait_output(f"got {signal.Signals(number).name.removeprefix('SIG')}\n")


def test_kill_with_an_unknown_signal(container: MakeContainer) -> None:
    one = container().start()
    for name in ("NOSUCH", "SIGNOSUCH", "0x9", "9x"):
        one.runtime.kill(one.id, name).fails("unknown signal")
    assert one.status == "running"


@pytest.mark.parametrize("name", ["KILL", "TERM", "INT", "HUP", "QUIT"])
def test_kill_reaches_a_created_container(container: MakeContainer, name: str) -> None:
    """Even a signal that the first process of a pid namespace ignores without a handler."""
    one = container()
    one.kill(name).wait_dead()
    assert one.status == "stopped"


def test_the_process_has_no_handlers_of_the_runtime(container: MakeContainer) -> None:
    """As with runc: the first process of a pid namespace survives TERM without a handler."""
    one = container(args=["sleep", "1000"]).start().kill("TERM")
    time.sleep(0.2)
    assert one.status == "running"


def test_kill_of_a_stopped_container(container: MakeContainer) -> None:
    """Engines interpret these words as "already gone"."""
    one = container().start().kill().wait_dead()
    one.runtime.kill(one.id, "TERM").fails("container not running")
    one.runtime.kill(one.id, 9).fails("container not running")


def test_kill_all_of_a_stopped_container_is_quiet(container: MakeContainer) -> None:
    one = container().start().kill().wait_dead()
    one.runtime.kill(one.id, 9, "--all").ok()


def test_kill_all_reaches_processes_that_init_left_behind(container: MakeContainer, bundle: Bundle) -> None:
    """Without a separate pid namespace the container outlives its init; an engine then calls kill --all."""
    bundle.without_namespace("pid")
    one = container(bundle, sh="sleep 1000 & echo child $!; exec sleep 1000").start()
    child = int(one.wait_output("child ").split()[1])
    os.kill(one.pid, signal.SIGKILL)
    one.wait_dead()
    assert process_state(child) in ("S", "R")
    one.runtime.kill(one.id, 9, "--all").ok()
    wait_until(lambda: process_state(child) in ("Z", ""))


@pytest.mark.parametrize("init_is_gone", [False, True])
def test_kill_without_a_pid_namespace_reaches_all(container: MakeContainer, bundle: Bundle, init_is_gone: bool) -> None:
    """Killing the first process ends the others only in a separate pid namespace. Other signals reach it alone."""
    bundle.without_namespace("pid")
    one = container(bundle, sh="sleep 1000 & echo child $!; exec sleep 1000").start()
    child = int(one.wait_output("child ").split()[1])
    if init_is_gone:
        os.kill(one.pid, signal.SIGKILL)
        one.wait_dead()
        one.runtime.kill(one.id, "TERM").fails("container not running")
    assert process_state(child) in ("S", "R")
    one.runtime.kill(one.id, "KILL").ok()
    wait_until(lambda: process_state(child) in ("Z", ""))
    one.wait_dead()
    if one.runtime.is_ocipy:  # runc does not report an empty cgroup
        one.runtime.kill(one.id, "KILL").fails("container not running")


def test_delete_kills_processes_that_init_left_behind(container: MakeContainer, bundle: Bundle) -> None:
    bundle.without_namespace("pid")
    one = container(bundle, sh="sleep 1000 & echo child $!; exec sleep 1000").start()
    child = int(one.wait_output("child ").split()[1])
    os.kill(one.pid, signal.SIGKILL)
    one.wait_dead()
    one.runtime.delete(one.id).ok()
    wait_until(lambda: process_state(child) in ("Z", ""))


def test_zombie_init_counts_as_stopped(container: MakeContainer) -> None:
    """An engine asks for the state before it reaps init."""
    one = container(sh="exit 7").start()
    one.wait_dead()
    assert process_state(one.pid) == "Z"
    assert one.status == "stopped"
    one.runtime.kill(one.id, "TERM").fails("container not running")
    one.runtime.delete(one.id).ok()
    assert one.reap() == 7


def test_delete_of_a_running_container(container: MakeContainer) -> None:
    one = container().start()
    one.runtime.delete(one.id).fails("not stopped")
    assert one.status == "running"


@pytest.mark.differs_from_runc(
    "runc kills a created container on delete; by the specification only a stopped one may be deleted"
)
def test_delete_of_a_created_container(container: MakeContainer) -> None:
    one = container()
    one.runtime.delete(one.id).fails("not stopped", "--force")
    assert one.status == "created"


@pytest.mark.parametrize("started", [False, True])
def test_delete_by_force(container: MakeContainer, started: bool) -> None:
    one = container()
    if started:
        one.start()
    one.runtime.delete(one.id, force=True).ok()
    assert process_state(one.pid) in ("Z", "")
    assert one.runtime.ids() == []


def test_delete_twice(container: MakeContainer) -> None:
    one = container()
    one.runtime.delete(one.id, force=True).ok()
    one.runtime.delete(one.id).fails("container does not exist")
    one.runtime.delete(one.id, force=True).ok()


def test_what_is_missing(runtime: Runtime, new_id: Callable[[], str]) -> None:
    id = new_id()
    for command in ("start", "state", "kill", "delete"):
        runtime.call(command, id).fails("container does not exist")
    runtime.delete(id, force=True).ok()


def test_delete_of_a_half_made_state_directory(runtime: Runtime, new_id: Callable[[], str]) -> None:
    """A create that died before its first write leaves an empty directory."""
    id = new_id()
    (runtime.root / id).mkdir(parents=True)
    runtime.delete(id, force=True).ok()
    assert runtime.ids() == []


def test_second_create_of_an_id(container: MakeContainer, make_bundle: Callable[..., Bundle]) -> None:
    one = container()
    other = make_bundle()
    one.runtime.create(other, one.id).fails("container with given ID already exists")
    assert one.status == "created"
    assert one.state()["pid"] == one.pid
    one.start()
    one.runtime.create(other, one.id).fails("already exists")
    assert one.status == "running"


def test_id_can_be_used_again(container: MakeContainer) -> None:
    one = container()
    one.runtime.delete(one.id, force=True).ok()
    one.create()
    assert one.status == "created"


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../up", "a b", "ü", "a\nb", "/abs", "a:b", "a@b"])
def test_bad_ids(runtime: Runtime, bundle: Bundle, id: str) -> None:
    bundle.args("true")
    runtime.create(bundle, id).fails(status=None)
    assert runtime.ids() == []


@pytest.mark.parametrize("suffix", ["_x", "+x", "-x", ".x", "A9"])
def test_good_ids(container: MakeContainer, new_id: Callable[[], str], suffix: str) -> None:
    one = container(id=new_id() + suffix)
    assert one.status == "created"


def test_config_changes_after_create_have_no_effect(container: MakeContainer, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"kept": "yes"}
    one = container(bundle, sh="echo first; hostname; exec sleep 1000")
    bundle.config["hostname"] = "changed"
    bundle.config["annotations"] = {}
    bundle.sh("echo second").write()
    one.start()
    assert one.wait_output("ocipy-test").startswith("first")
    assert one.state()["annotations"] == {"kept": "yes"}
    (bundle.path / "config.json").unlink()
    assert one.status == "running"
    one.end()


def test_pid_file(container: MakeContainer, work: Path) -> None:
    """containerd fails on a newline after the number."""
    path = work / "pid"
    path.write_text("stale")
    one = container(None, "--pid-file", path)
    assert path.read_bytes() == str(one.pid).encode()
    assert [entry.name for entry in work.iterdir() if "pid" in entry.name] == ["pid"]


@pytest.mark.ocipy_only("runc replaces a device with its file, even the host's /dev/null")
@pytest.mark.parametrize("kind", ["device", "FIFO", "directory"])
def test_a_pid_file_replaces_only_regular_files(container: MakeContainer, work: Path, kind: str) -> None:
    """Neither on success nor on failure."""
    file = work / "pid"
    if kind == "directory":
        file.mkdir()
    else:
        os.mknod(file, (stat.S_IFCHR if kind == "device" else stat.S_IFIFO) | 0o600, os.makedev(1, 3))
    before = file.lstat()
    one = container().start()
    for words in (
        ("create", "--bundle", one.bundle.path, "--pid-file", file, one.id + "-other"),
        ("exec", "--detach", "--pid-file", file, one.id, "true"),
        ("exec", "--pid-file", file, one.id, "/no/such/program"),
    ):
        one.runtime.call(*words).fails("the pid file is not a regular file", status=None)
    assert (file.lstat().st_ino, file.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert one.runtime.ids() == [one.id]


def test_pid_file_is_relative_to_the_caller(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    id = new_id()
    runtime.create(bundle.args("true"), id, "--pid-file", "here.pid", cwd=work).ok()
    assert (work / "here.pid").read_text() == str(runtime.state(id)["pid"])
    runtime.delete(id, force=True).ok()


def test_no_pid_file_after_a_failed_create(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    runtime.create(bundle.args("/no/such/command"), new_id(), "--pid-file", work / "pid").fails()
    assert not (work / "pid").exists()


def test_init_is_the_callers_orphan(container: MakeContainer) -> None:
    """There is no runtime process between the engine and init: the engine reaps init."""
    one = container()
    assert int(proc_status(one.pid)["PPid"]) == os.getpid()
    children = Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text()
    assert children == ""
    one.start()
    assert int(proc_status(one.pid)["PPid"]) == os.getpid()


@pytest.mark.ocipy_only("runc refuses such a config at create")
def test_without_a_process_start_is_an_error(container: MakeContainer, bundle: Bundle) -> None:
    """config.md: process is only REQUIRED when start is called; runtime.md: start MUST generate an error then."""
    del bundle.config["process"]
    one = container(bundle)
    one.runtime.call("start", one.id).fails("/process: there is no process to run")
    assert one.runtime.state(one.id)["status"] == "stopped"

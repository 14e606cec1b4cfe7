"""The library without containers: its names, import cost and records, and what it reads without the runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

import ocipy
from ocipy import library
from ocipy.host.console import connect, send_descriptor
from ocipy.library import ended, executable
from ocipy.library.executable import Errors, Executable
from ocipy.library.records import State, TimeoutExpired
from ocipy.state.state import process_start
from tests.harness.host import wait_until

TOP = Path(ocipy.__file__).parents[1]


def test_the_names_are_those_of_the_list() -> None:
    assert set(library.PLACES) | {"SPEC_VERSION", "__version__"} == set(ocipy.__all__)
    for name in ocipy.__all__:
        assert getattr(ocipy, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ocipy.nothing


def test_the_documentation_has_every_name_and_method() -> None:
    text = (TOP / "docs/library.md").read_text()
    for name in set(ocipy.__all__) - {"SPEC_VERSION", "__version__"}:
        assert f"`{name}" in text, name
    for one in (ocipy.Runtime, ocipy.Container, ocipy.Process, ocipy.ConsoleSocket):
        for name in vars(one):
            assert name.startswith("_") or name == "executable" or f"{name}(" in text, f"{one.__name__}.{name}"


def test_import_ocipy_imports_nothing_else_but_its_version() -> None:
    script = f"import sys; sys.path.insert(0, {str(TOP)!r}); before = set(sys.modules); import ocipy"
    script += "; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("['ocipy', 'ocipy.version']", "['__future__', 'ocipy', 'ocipy.version']")


def test_a_state_is_read_from_the_document() -> None:
    document = {
        "ociVersion": "1.3.0",
        "id": "web",
        "pid": 7,
        "status": "running",
        "bundle": "/b",
        "rootfs": "/b/rootfs",
        "created": "2026-11-22T06:31:14.561846116Z",
        "owner": "",
    }
    state = State.from_document(document)
    assert state.created == datetime(2026, 11, 22, 6, 31, 14, 561846, UTC)
    assert (state.id, state.pid, state.status, dict(state.annotations)) == ("web", 7, "running", {})
    with pytest.raises(AttributeError):
        state.pid = 8  # type: ignore[misc]


def test_validate_plan_and_features_need_no_executable(tmp_path: Path) -> None:
    runtime = ocipy.Runtime(tmp_path / "state", executable="/nonexistent")
    (tmp_path / "rootfs").mkdir()
    config = ocipy.template()
    config["process"]["terminal"] = False
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert [finding for finding in runtime.validate(tmp_path) if finding.severity == "error"] == []
    assert {"ociVersionMin", "hooks", "linux"} <= runtime.features().keys()
    assert runtime.plan(tmp_path).init[-1].action == "execute"
    assert "execute" in str(runtime.plan(tmp_path))
    for manager, made in (("cgroupfs", True), ("disabled", False)):
        plan = ocipy.Runtime(tmp_path / "state", cgroup_manager=manager).plan(tmp_path)
        assert ("cgroup_create" in [step.action for step in plan.host]) is made
    with pytest.raises(ValueError, match="unknown cgroup manager: 'no'"):
        ocipy.Runtime(cgroup_manager="no")
    config["linux"]["maskedPaths"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    (finding,) = runtime.validate(tmp_path)
    assert finding.pointer == "/linux/maskedPaths"
    with pytest.raises(ocipy.Error) as caught:
        runtime.plan(tmp_path)
    assert caught.value.pointer == "/linux/maskedPaths"


def test_a_missing_root_is_an_error_only_if_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ocipy.Error, match="cannot list the containers"):
        ocipy.Runtime(tmp_path / "none").containers()
    assert ocipy.Runtime(tmp_path).containers() == ()
    with pytest.raises(ocipy.Error, match="container does not exist"):
        ocipy.Runtime(tmp_path).container("web").state()
    with pytest.raises(ocipy.Error, match="invalid container ID"):
        ocipy.Runtime(tmp_path).container("../web").state()


def script(tmp_path: Path, text: str) -> Executable:
    """A fake executable, which gets --error-fd N and a command."""
    path = tmp_path / "ocipy"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return Executable(str(path), ["--root", "/r"])


def test_an_error_comes_by_its_own_descriptor(tmp_path: Path) -> None:
    message = json.dumps({"what": "no", "pointer": "/mounts/3", "errno": 2, "hint": "look", "status": 5})
    made = script(tmp_path, f"echo noise >&2; echo '{message}' >/proc/self/fd/$4; exit 5")
    with pytest.raises(ocipy.Error) as caught:
        made.quietly("start", "web")
    error = caught.value
    assert (error.what, error.pointer, error.errno, error.hint, error.status) == ("no", "/mounts/3", 2, "look", 5)
    # This distinguishes a process that exits with 1 from a runtime that does.
    done = script(tmp_path, "exit 1").foreground(
        "run", "web", container_id="web", preserve_fds=0, stdin=None, stdout=None, stderr=None, input=None
    )
    assert done.returncode == 1


def test_what_an_executable_says_without_it_is_taken_too(tmp_path: Path) -> None:
    with pytest.raises(ocipy.Error) as caught:
        script(tmp_path, "echo 'ocipy: it is broken' >&2; exit 3").quietly("start", "web")
    assert (caught.value.what, caught.value.status) == ("it is broken", 3)
    with pytest.raises(ocipy.Error, match="ended with status 9"):
        script(tmp_path, "exit 9").quietly("start", "web")
    with pytest.raises(ocipy.Error, match="cannot execute ocipy"):
        Executable("/nonexistent", []).quietly("start", "web")


def test_warnings_become_pythons(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="^/mounts/0: hm$"):
        assert script(tmp_path, "echo 'ocipy: warning: /mounts/0: hm' >&2; echo out").quietly("start") == b"out\n"


def test_what_belongs_to_the_programs_own_service_is_not_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in executable.NOT_HANDED_ON:
        monkeypatch.setenv(name, "1")
    assert script(tmp_path, "env | grep -c -e LISTEN_ -e NOTIFY_ || true").quietly("start") == b"0\n"


def test_a_pipe_for_a_process_that_stays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pipe"):
        script(tmp_path, "").leaving("create", preserve_fds=0, stdin=None, stdout=subprocess.PIPE, stderr=None)


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not passed a pidfd yet, so it is still at work, and is asked to undo that."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = script(tmp_path, "trap 'echo undone; exit 143' TERM; echo so far; sleep 100 & wait")
    with pytest.raises(TimeoutExpired) as caught:
        made.foreground(
            "run", "web", container_id="web",
            preserve_fds=0, stdin=None, stdout=subprocess.PIPE, stderr=None, input=None, timeout=1,
        )  # fmt: skip
    error = caught.value
    assert isinstance(error, ocipy.Error)
    assert isinstance(error, subprocess.TimeoutExpired)
    assert (error.cmd, error.timeout, error.stdout, error.stderr) == (["run", "web"], 1, b"so far\n", None)
    assert str(error) == "run web has not ended within 1 seconds"
    assert os.listdir(tmp_path) == ["ocipy"]


def test_capture_output_is_instead_of_the_streams() -> None:
    assert executable.captured(True, None, None) == (subprocess.PIPE, subprocess.PIPE)
    assert executable.captured(False, 5, None) == (5, None)
    with pytest.raises(ValueError, match="capture_output"):
        executable.captured(True, 5, None)


def test_a_console_socket_is_a_path_that_a_descriptor_comes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("d" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    before = os.listdir("/proc/self/fd")
    with ocipy.ConsoleSocket() as console:
        with pytest.raises(ocipy.TimeoutExpired):
            console.receive(timeout=0)
        master, peer = os.openpty()
        send_descriptor(os.fspath(console), master, os.ttyname(peer), "the terminal")
        os.close(master)
        terminal = console.receive(timeout=60)
        with terminal:
            assert not os.get_inheritable(terminal.fileno())
            os.write(peer, b"shown\n")
            assert terminal.read(100) == b"shown\r\n"
            terminal.write(b"typed\n")
            assert os.read(peer, 100) == b"typed\n"
        os.close(peer)
        os.close(connect(os.fspath(console)))
        with pytest.raises(ocipy.Error, match="received no descriptor"):
            console.receive(timeout=60)
    assert os.listdir("/proc/self/fd") == before
    assert os.listdir(long) == []


@pytest.mark.parametrize(("line", "status"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_status_of_a_child_is_there_until_it_is_reaped(line: str, status: int) -> None:
    with subprocess.Popen(["sh", "-c", line]) as child:
        pidfd = os.pidfd_open(child.pid)
        assert ended.has_ended(pidfd, 60)
        assert [ended.exit_status(pidfd), ended.exit_status(pidfd)] == [status, status]
    assert ended.exit_status(pidfd) in ((status,) if remembers() else (None,))
    os.close(pidfd)


def remembers() -> bool:
    """Linux 6.15 is the first to give the exit status through a pidfd."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor)) >= (6, 15)


def test_a_pidfd_is_of_the_process_that_was_meant() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        start = process_start(child.pid)
        assert ended.open_process(child.pid, start + 1, 0) == -1
        with ocipy.Process(ended.open_process(child.pid, start, 0), child) as process:
            assert process.pid == child.pid
            with pytest.raises(TimeoutExpired):
                process.wait(0.01)
            process.kill()
            wait_until(lambda: ended.has_ended(process.fileno(), 0), "its end")
            # A zombie still counts as the process.
            os.close(ended.open_process(child.pid, start, 0))
            assert [process.wait(60), process.wait()] == [143, 143]
            with pytest.raises(ocipy.Error, match="cannot send signal 15 to process"):
                process.kill()
    assert ended.open_process(child.pid, start, 0) == -1
    with pytest.raises(ValueError, match="closed"):
        process.kill()


def test_an_executable_that_stays(tmp_path: Path) -> None:
    """It announces the start of its process; a runtime that ends silently has not started one."""
    streams = {"stdin": None, "stdout": None, "stderr": None}
    process = script(tmp_path, "echo >/proc/self/fd/$4; exec sleep 1000").staying("exec", **streams)
    assert process.poll() is None
    assert os.getsid(process.pid) == process.pid
    process.kill()
    process.wait()
    assert script(tmp_path, "echo >/proc/self/fd/$4; exit 4").staying("exec", **streams).wait() == 4
    message = json.dumps({"what": "no", "status": 255})
    with pytest.raises(ocipy.Error, match=r"^no$"):
        script(tmp_path, f"echo '{message}' >/proc/self/fd/$4; exit 255").staying("exec", **streams)
    with pytest.raises(ocipy.Error, match="ended with status 9"):
        script(tmp_path, "exit 9").staying("exec", **streams)
    with pytest.raises(ValueError, match="pipe"):
        script(tmp_path, "").staying("exec", stdin=None, stdout=subprocess.PIPE, stderr=None)


def test_nothing_is_left_open_and_the_containers_numbers_stay_free(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    errors = Errors(100)
    with errors:
        assert errors.writer >= 100
    errors.raise_if_told()
    script(tmp_path, "exit 0").quietly("start")
    assert os.listdir("/proc/self/fd") == before


def test_the_executable_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path / "none"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))
    monkeypatch.setattr(executable, "__file__", str(tmp_path / "lib/python3/site-packages/ocipy/library/executable.py"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    with pytest.raises(ocipy.Error, match="cannot find the executable"):
        executable.find()
    for directory in ("path", "bin"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "ocipy").touch(0o755)
        assert executable.find() == str(tmp_path / directory / "ocipy")

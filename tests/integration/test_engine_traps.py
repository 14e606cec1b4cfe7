"""The traps in which runtimes fail engines, with calls like theirs. tests/engines/README.md lists all of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Result, Runtime, open_files

Make = Callable[..., Container]
NewId = Callable[[], str]

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def joint(runtime: Runtime, *words: str) -> Any:
    """The JSON of a call with standard output and error on one pipe, like go-runc's; features has no flags."""
    globals = [] if words == ("features",) else ["--root", str(runtime.root)]
    argv = [runtime.path, *globals, *words]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={}, text=True)
    return json.loads(done.stdout)


def test_trap_1_pid_files_have_no_newline(container: Make, runtime: Runtime, work: Path) -> None:
    one = container(None, "--pid-file", work / "pid")
    one.start()
    assert (work / "pid").read_text() == str(one.pid)
    runtime.call("exec", "--detach", "--pid-file", work / "exec.pid", one.id, "true").ok()
    assert re.fullmatch(r"[0-9]+", (work / "exec.pid").read_text())
    os.waitpid(int((work / "exec.pid").read_text()), 0)  # init can't die before its namespace is empty


def test_trap_2_output_is_json_and_nothing_else(container: Make, runtime: Runtime) -> None:
    one = container()
    one.start()
    assert joint(runtime, "ps", "--format", "json", one.id) == [one.pid]
    assert joint(runtime, "state", one.id)["id"] == one.id
    assert joint(runtime, "list", "--format", "json")[0]["id"] == one.id
    assert joint(runtime, "features")["ociVersionMin"]
    one.end()


FAILING = [
    ("start", []),
    ("exec", ["--detach", "--pid-file", "PID", "--process", "PROCESS"]),
    ("kill", []),
    ("pause", []),
    ("resume", []),
    ("update", ["--pids-limit", "5"]),
    ("ps", ["--format", "json"]),
    ("delete", []),
]


@pytest.mark.parametrize("command", ["create", *(name for name, _ in FAILING)])
def test_trap_3_4_5_an_error_is_on_standard_error_and_one_record(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, command: str
) -> None:
    """With a time zone and the level `error`; for a missing container or command."""
    log = work / "log.json"
    flags = ["--log", log, "--log-format", "json"]
    if command == "create":
        bundle.args("no-such-command")
        result = runtime.create(bundle, new_id(), globals=flags)
    else:
        words = [
            word.replace("PROCESS", f"{work}/p.json").replace("PID", f"{work}/pid") for word in dict(FAILING)[command]
        ]
        (work / "p.json").write_text(json.dumps({"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}}))
        result = runtime.call(command, *words, new_id(), globals=flags)
    result.fails(status=None)
    one_record(result, log)


def one_record(result: Result, log: Path) -> None:
    """One line of JSON, with the same message on standard error."""
    (line,) = log.read_text().splitlines()
    record = json.loads(line)
    assert record["level"] == "error"
    assert RFC_3339.fullmatch(record["time"])
    assert record["msg"] and record["msg"].split(": ")[-1] in result.stderr.replace('\\"', '"')


@pytest.mark.ocipy_only("the state directory is named after the runtime")
def test_trap_7_empty_runtime_directory_and_no_environment(
    bundle: Bundle, runtime: Runtime, new_id: NewId, work: Path
) -> None:
    """podman calls kill, delete and state with only XDG_RUNTIME_DIR, which is empty for root. It must not mean a
    directory "" below the current one, or one below PATH, HOME or LANG."""
    id = new_id()
    bundle.args("sleep", "1000").write()
    run = {"cwd": work, "env": {"XDG_RUNTIME_DIR": ""}, "check": True}
    files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    before = set(os.listdir(work))
    for words in (["create", "--bundle", str(bundle.path), id], ["start", id], ["kill", id, "9"]):
        subprocess.run([runtime.path, *words], **run, **files)  # type: ignore[call-overload]
    assert Path("/run/ocipy", id).is_dir()
    subprocess.run([runtime.path, "delete", "--force", id], **run)  # type: ignore[call-overload]
    assert not Path("/run/ocipy", id).exists()
    assert set(os.listdir(work)) == before


def test_trap_9_the_shims_socket_does_not_reach_the_container(container: Make, tmp_path: Path) -> None:
    """containerd's shim leaves file descriptor 3 open, without --preserve-fds."""
    read, write = os.pipe()
    try:
        one = container(fds=(read, write))
        held = os.readlink(f"/proc/self/fd/{write}")
        assert held not in open_files(one.pid).values()
        one.start()
        assert held not in open_files(one.pid).values()
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("flag", ["-no-subreaper", "--no-subreaper", "--no-subreaper=true"])
@pytest.mark.parametrize("command", ["run", "restore"])
def test_trap_12_no_subreaper_in_each_form(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, command: str, flag: str
) -> None:
    """As go-runc writes it: with one dash, before --bundle."""
    bundle.args("true").write()
    if command == "run":
        runtime.call("run", flag, "--bundle", bundle.path, new_id()).ok()
        return
    flags: list[str | Path] = [
        "--image-path",
        work / "none",
        "--work-path",
        work / "none",
        "--detach",
        "--pid-file",
        work / "pid",
    ]
    result = runtime.call("restore", *flags, flag, "--bundle", bundle.path, new_id()).fails(status=None)
    assert "flag" not in result.stderr


def test_trap_13_containers_that_are_gone(runtime: Runtime, container: Make, new_id: NewId) -> None:
    """Engines call `delete --force` at every end, even without a container, and `kill --all` after init has exited."""
    result = runtime.delete(new_id(), force=True).ok()
    assert (result.stdout, result.stderr) == ("", "")
    one = container(args=["true"])
    one.start()
    one.wait_dead()
    runtime.kill(one.id, 9, "--all").ok()
    runtime.kill(one.id, 9).fails("container not running")


def test_trap_18_words_are_lower_case(runtime: Runtime, container: Make) -> None:
    """CRI-O compares them literally."""
    one = container(args=["true"])
    one.start()
    one.wait_dead()
    assert "container not running" in runtime.kill(one.id, 15).stderr
    runtime.delete(one.id).ok()
    assert "container does not exist" in runtime.kill(one.id, 15).stderr


def test_trap_20_silence(container: Make, runtime: Runtime, work: Path) -> None:
    """The output of these would appear on the terminal of podman's user. update reads a file."""
    one = container()
    resources = work / "resources"
    resources.write_text('{"pids": {"limit": 99}}')
    calls = [["start"], ["pause"], ["resume"], ["update", f"--resources={resources}"], ["kill"], ["delete", "--force"]]
    for words in calls:
        signal = ["9"] if words == ["kill"] else []
        result = runtime.call(*words, one.id, *signal).ok()
        assert (result.stdout, result.stderr) == ("", ""), repr(result)


def test_trap_21_a_failed_exec_leaves_no_pid_file(container: Make, runtime: Runtime, work: Path) -> None:
    """The newest conmon treats its existence as success."""
    one = container()
    one.start()
    words: list[str | Path] = ["--detach", "--pid-file", work / "pid", one.id, "no-such-command"]
    runtime.call("exec", *words).fails("executable file not found in $PATH", status=255)
    assert not (work / "pid").exists()
    one.end()


def test_dockers_wrapper_script(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    """Docker turns runtimeArgs into a script without exec: the runtime is its child, and words are split again."""
    script = work / "with-args"
    script.write_text(f"#!/bin/sh\n{runtime.path} --systemd-cgroup=false $@\n")
    script.chmod(0o755)
    id = new_id()
    bundle.args("sleep", "1000").write()
    root = ["--root", str(runtime.root)]
    create = [str(script), *root, "create", "--bundle", str(bundle.path), "--pid-file", str(work / "pid"), id]
    runtime.spawn(create).wait().ok()
    assert Path(f"/proc/{(work / 'pid').read_text()}").exists()
    runtime.spawn([str(script), *root, "start", id]).wait().ok()
    runtime.spawn([str(script), *root, "delete", "--force", id]).wait().ok()

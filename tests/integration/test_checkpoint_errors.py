"""checkpoint without criu: refusals, the requests to criu, and the state after a failure; and flags of both commands.

An executable that only speaks criu's protocol takes its place (tests/harness/fake_criu.py).
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, wait_until
from tests.harness.fake_criu import DUMP, LOG, PRE_DUMP, FakeCriu

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
Check = Callable[[], None]

only_ocipy = pytest.mark.ocipy_only("runc takes no --criu")


def test_a_created_container(runtime: Runtime, container: MakeContainer, work: Path) -> None:
    one = container()
    result = runtime.call("checkpoint", "--image-path", work / "i", one.id)
    result.fails("Container cannot be checkpointed in created state")
    assert one.status == "created"


def test_a_stopped_container(runtime: Runtime, container: MakeContainer, work: Path) -> None:
    one = container().start().kill().wait_dead()
    result = runtime.call("checkpoint", "--image-path", work / "i", one.id)
    result.fails("Container cannot be checkpointed in stopped state")


def test_no_container(runtime: Runtime, work: Path, new_id: NewId) -> None:
    runtime.call("checkpoint", "--image-path", work / "i", new_id()).fails("container does not exist")
    assert not (work / "i").exists() or not runtime.is_ocipy


def test_help(runtime: Runtime) -> None:
    """podman checks with this call whether checkpoint exists."""
    for command in ("checkpoint", "restore"):
        assert "--image-path" in runtime.call(command, "--help").ok().stdout


def test_a_flag_without_its_value(runtime: Runtime) -> None:
    """podman checks with this call whether the flag exists."""
    result = runtime.call("restore", "--lsm-mount-context")
    assert result.status != 0
    assert "flag needs an argument" in result.stdout + result.stderr


@pytest.mark.ocipy_only("about the error text; runc's is that of exec.LookPath, or of a version check")
def test_criu_is_missing(runtime: Runtime, container: MakeContainer, images: Path) -> None:
    one = container().start()
    nowhere = {"PATH": "/nowhere"}
    result = runtime.call("checkpoint", "--image-path", images, one.id, env=nowhere)
    result.fails("cannot run criu: criu is not installed", "install criu")
    assert one.status == "running"
    result = runtime.call("restore", "--bundle", one.bundle.path, "--image-path", images, one.id + "-2", env=nowhere)
    result.fails("cannot run criu: criu is not installed")
    assert runtime.ids() == [one.id]


@only_ocipy
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"version": {"major_number": 2, "minor_number": 9}}, "is version 2.9, which is too old"),
        ({"exits": 1}, "does not answer as criu 3.0 does"),
    ],
)
def test_an_unsuitable_criu(
    runtime: Runtime,
    container: MakeContainer,
    work: Path,
    fake_criu: FakeCriu,
    behaviour: dict[str, object],
    words: str,
) -> None:
    fake_criu.behave(**behaviour)
    one = container().start()
    runtime.call("checkpoint", "--image-path", work / "i", one.id, globals=["--criu", fake_criu.path]).fails(words)
    assert one.status == "running"


@only_ocipy
def test_a_criu_in_the_container_is_never_run(
    runtime: Runtime, container: MakeContainer, bundle: Bundle, work: Path
) -> None:
    """As in CVE-2022-1227: a helper found among the container's files would run with the host's privileges."""
    (bundle.rootfs / "usr/bin/criu").write_text(f"#!/bin/sh\ntouch {work}/taken\n")
    (bundle.rootfs / "usr/bin/criu").chmod(0o755)
    one = container(bundle.args("sleep", "1000")).start()
    path = {"PATH": ":.:usr/bin:/nowhere"}
    for directory in (bundle.rootfs, bundle.rootfs / "usr/bin"):
        result = runtime.call("checkpoint", "--image-path", work / "i", one.id, env=path, cwd=directory)
        result.fails("criu is not installed")
    assert not (work / "taken").exists()


@only_ocipy
def test_the_log_of_criu_says_why(runtime: Runtime, container: MakeContainer, work: Path, fake_criu: FakeCriu) -> None:
    fake_criu.behave(log=LOG, fails=1)
    one = container().start()
    command: list[str | Path] = ["checkpoint", "--image-path", work / "i", "--work-path", work / "w", one.id]
    result = runtime.call(*command, globals=["--criu", fake_criu.path, "--log", work / "log"])
    cause = "inet: Connected TCP socket, consider using --tcp-established option. (criu/sk-inet.c:191)"
    result.fails(f"criu cannot dump the container: {cause} (criu's log: {work}/w/dump.log)", "give --tcp-established")
    assert cause in (work / "log").read_text()
    assert (work / "w/dump.log").read_text() == LOG
    assert one.status == "running"


@only_ocipy
@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_the_log_named_in_criu_s_own_configuration_says_why(
    runtime: Runtime, bundle: Bundle, new_id: NewId, images: Path, work: Path, fake_criu: FakeCriu, command: str
) -> None:
    (work / "criu.conf").write_text(f"# ours\ntcp-established\nlog-file {work}/own.log\n")
    fake_criu.behave(log=LOG, fails=1, log_to=f"{work}/own.log")
    bundle.config["annotations"] = {"org.criu.config": f"{work}/criu.conf"}
    id = new_id()
    bundle.args("sleep", "1000").write()
    words: list[str | Path] = [command, "--image-path", images, id]
    if command == "checkpoint":
        runtime.call("run", "--detach", "--bundle", bundle.path, id).ok()
    else:
        words[1:1] = ["--bundle", bundle.path]
    result = runtime.call(*words, globals=["--criu", fake_criu.path])
    result.fails("inet: Connected TCP socket", f"(criu's log: {work}/own.log)")
    runtime.delete(id, force=True).ok()


@only_ocipy
@pytest.mark.parametrize("hangs", [True, "forever"])
def test_a_checkpoint_that_hangs_is_interrupted(
    runtime: Runtime, container: MakeContainer, work: Path, fake_criu: FakeCriu, hangs: bool | str
) -> None:
    """criu gets some time to exit; then it is killed, and the frozen processes continue."""
    fake_criu.behave(hangs=hangs, freezes=True)
    one = container().start()
    running = runtime.begin("checkpoint", "--image-path", work / "i", one.id, globals=["--criu", fake_criu.path])
    wait_until(lambda: fake_criu.hanging)
    running.signal(signal.SIGTERM)
    running.wait(20).fails("interrupted by SIGTERM: criu's dump was abandoned", status=143)
    assert one.status == "running"


@only_ocipy
def test_criu_dies(runtime: Runtime, container: MakeContainer, work: Path, fake_criu: FakeCriu) -> None:
    """As if it were killed in the middle, with the container frozen."""
    fake_criu.behave(dies=True, freezes=True)
    one = container().start()
    result = runtime.call("checkpoint", "--image-path", work / "i", one.id, globals=["--criu", fake_criu.path])
    result.fails("criu cannot dump the container: it exited with status 3")
    assert one.status == "running"


@only_ocipy
def test_the_request_to_criu(runtime: Runtime, container: MakeContainer, work: Path, fake_criu: FakeCriu) -> None:
    """Afterwards the container is gone, as with runc, and its poststop hooks have run."""
    one = container()
    one.start()
    result = runtime.call(
        "checkpoint", "--image-path", work / "i", "-work-path=" + str(work / "w"), "--tcp-established", "--file-locks",
        "--shell-job", "--ext-unix-sk", "--manage-cgroups-mode", "soft", "--page-server", "localhost:27", one.id,
        globals=["--criu", fake_criu.path],
    ).ok()  # fmt: skip
    assert (result.stdout, result.stderr) == ("", "")
    [request] = fake_criu.requests([DUMP])
    options = request["opts"]
    assert options["pid"] == one.pid
    assert options["ps"] == {"address": "localhost", "port": 27}
    assert options["manage_cgroups_mode"] == 3
    assert options["root"] == str(one.bundle.rootfs)
    assert os.path.basename(options["freeze_cgroup"]) == os.path.basename(one.bundle.linux["cgroupsPath"])
    assert options["external"].endswith(":/dev/null"), "the last of the masked files"
    for switch in ("tcp_established", "file_locks", "shell_job", "ext_unix_sk", "notify_scripts", "orphan_pts_master"):
        assert options[switch] is True
    assert options["leave_running"] is False
    assert (work / "i").stat().st_mode & 0o077 == 0
    assert (work / "i/descriptors.json").read_text().count('"') == 6
    assert runtime.ids() == []
    one.wait_dead()


@only_ocipy
@pytest.mark.parametrize(("flag", "kind"), [("--leave-running", DUMP), ("--pre-dump", PRE_DUMP)])
def test_the_container_continues(
    runtime: Runtime, container: MakeContainer, work: Path, fake_criu: FakeCriu, flag: str, kind: int
) -> None:
    one = container().start()
    runtime.call("checkpoint", flag, flag, "--image-path", work / "i", one.id, globals=["--criu", fake_criu.path]).ok()
    assert len(fake_criu.requests([kind])) == 1
    assert one.status == "running"
    assert (work / "i/descriptors.json").exists() == (kind == DUMP)


@only_ocipy
def test_the_streams_are_recorded_with_the_images(
    runtime: Runtime, container: MakeContainer, work: Path, fake_criu: FakeCriu
) -> None:
    """In runc's form: a restore passes pipes under these names."""
    reading, writing = os.pipe()
    one = container(stderr=writing).start()
    name = os.readlink(f"/proc/self/fd/{writing}")
    os.close(reading)
    os.close(writing)
    runtime.call("checkpoint", "--image-path", work / "i", one.id, globals=["--criu", fake_criu.path]).ok()
    assert one.created is not None
    assert json.loads((work / "i/descriptors.json").read_text()) == ["/dev/null", str(one.created.stdout_path), name]


@only_ocipy
def test_the_byte_that_announces_the_pages(
    runtime: Runtime, container: MakeContainer, work: Path, fake_criu: FakeCriu
) -> None:
    fake_criu.behave(notifies=["status-ready"])
    one = container().start()
    reading, writing = os.pipe()
    result = runtime.call(
        "checkpoint", "--lazy-pages", "--status-fd", str(writing), "--image-path", work / "i", one.id,
        globals=["--criu", fake_criu.path], fds=[writing],
    )  # fmt: skip
    result.ok()
    os.close(writing)
    assert os.read(reading, 9) == b"\0"
    os.close(reading)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--manage-cgroups-mode", "hard"], "manage-cgroups-mode"),
        (["--page-server", "nowhere"], "--page-server"),
        (["--parent-path", "/absolute"], "--parent-path must be relative"),
        (["--parent-path", "../missing"], "invalid --parent-path"),
        (["--empty-ns", "user"], "is not supported"),
        (["--lazy-pages", "--status-fd", "77"], "invalid --status-fd"),
    ],
)
@only_ocipy
def test_invalid_flags(
    runtime: Runtime, container: MakeContainer, work: Path, fake_criu: FakeCriu, flags: list[str], words: str
) -> None:
    one = container().start()
    command: list[str | Path] = ["checkpoint", "--image-path", work / "i", *flags, one.id]
    runtime.call(*command, globals=["--criu", fake_criu.path]).fails(words)
    assert one.status == "running"
    assert fake_criu.requests([DUMP]) == []

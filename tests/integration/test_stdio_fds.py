"""Standard streams, LISTEN_FDS, --preserve-fds; every other file descriptor is closed."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, open_files, process_state, wait_until

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
ALL_BYTES = bytes(range(256)) * 300 + b"no newline at the end"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


@pytest.mark.ocipy_only("runc leaves its state directory behind")
@pytest.mark.parametrize("number", ["99999999", "-1"])
def test_an_absurd_number_for_preserve_fds(runtime: Runtime, bundle: Bundle, new_id: NewId, number: str) -> None:
    bundle.args("true").write()
    runtime.call("create", "--preserve-fds", number, "--bundle", bundle.path, new_id()).fails(status=None)
    assert runtime.ids() == []


@pytest.mark.smoke
def test_streams_are_untouched(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """Byte for byte, in both directions, with standard error separate from standard output."""
    result = runtime.run(bundle.sh("cat; echo err >&2"), new_id(), stdin=ALL_BYTES).ok()
    assert result.raw_stdout == ALL_BYTES
    assert result.raw_stderr == b"err\n"


def test_large_stream(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    result = runtime.run(bundle.sh("head -c 20000000 /dev/zero | tr '\\0' x | sha256sum"), new_id()).ok()
    assert result.stdout.split()[0] == hashlib.sha256(b"x" * 20000000).hexdigest()
    result = runtime.run(bundle.sh("head -c 20000000 /dev/zero | tr '\\0' x"), new_id()).ok()
    assert hashlib.sha256(result.raw_stdout).digest() == hashlib.sha256(b"x" * 20000000).digest()


def test_end_of_standard_input(runtime: Runtime, bundle: Bundle, new_id: NewId, pipe: tuple[int, int]) -> None:
    """The container sees the end when the caller closes its pipe, and not before."""
    bundle.sh("cat; echo end").write()
    running = runtime.begin("run", "--bundle", bundle.path, new_id(), stdin=pipe[0])
    os.close(pipe[0])
    os.write(pipe[1], b"first\n")
    wait_until(lambda: b"first" in running.stdout_path.read_bytes())
    assert b"end" not in running.stdout_path.read_bytes()
    os.close(pipe[1])
    assert running.wait().ok().stdout == "first\nend\n"


def test_closed_standard_input_is_empty(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    assert runtime.run(bundle.sh("cat; echo end"), new_id()).ok().stdout == "end\n"


def test_a_reader_that_goes_away(runtime: Runtime, bundle: Bundle, new_id: NewId, pipe: tuple[int, int]) -> None:
    """The container's writer gets SIGPIPE, and the call ends."""
    bundle.sh("yes; echo after $? >&2").write()
    running = runtime.begin("run", "--bundle", bundle.path, new_id(), stdout=pipe[1])
    os.close(pipe[1])
    os.read(pipe[0], 100)
    os.close(pipe[0])
    assert running.wait(15).status is not None


def test_streams_of_a_created_container_are_the_callers(container: MakeContainer) -> None:
    one = container(sh="exec sleep 1000").start()
    assert one.created is not None
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    for descriptor, path in ((1, one.created.stdout_path), (2, one.created.stderr_path)):
        assert os.stat(one.proc(f"fd/{descriptor}")).st_ino == path.stat().st_ino


def test_no_other_descriptor_is_open(container: MakeContainer) -> None:
    one = container().start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    assert sorted(open_files(one.pid)) == [0, 1, 2]


def test_dev_null_is_the_containers(container: MakeContainer) -> None:
    """Standard input from the host's /dev/null is reopened, so no host inode stays reachable."""
    one = container().start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    assert os.stat(one.proc("fd/0")).st_dev == os.stat(one.root("/dev/null")).st_dev
    assert os.stat(one.proc("fd/0")).st_dev != os.stat("/dev/null").st_dev


def test_pipes_belong_to_the_containers_user(container: MakeContainer, bundle: Bundle, pipe: tuple[int, int]) -> None:
    """Otherwise only root could reopen /dev/stdout."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(bundle, sh="echo reopened > /proc/self/fd/1; exec sleep 1000", stdout=pipe[1]).start()
    assert os.read(pipe[0], 100) == b"reopened\n"
    assert os.fstat(pipe[1]).st_uid == 1000
    one.end()


@pytest.mark.parametrize("command", ["run", "exec"])
def test_a_file_that_is_read_keeps_its_owner(
    container: MakeContainer, runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, command: str
) -> None:
    """Otherwise the container's user could open it for writing: `exec --user 1000 web cat < /etc/shadow`."""
    (work / "input").write_bytes(b"secret")
    (work / "input").chmod(0o600)
    script = "cat; echo changed 2>&- > /proc/self/fd/0"
    if command == "exec":
        call = ["exec", "--user", "1000:1000", container().start().id, "sh", "-c", script]
    else:
        bundle.process["user"] = {"uid": 1000, "gid": 1000}
        bundle.sh(script).write()
        call = ["run", "--bundle", str(bundle.path), new_id()]
    with (work / "input").open("rb") as file:
        assert runtime.call(*call, stdin=file).raw_stdout == b"secret"
    assert (work / "input").stat().st_uid == 0
    assert (work / "input").read_bytes() == b"secret"


def test_inherited_descriptors_are_closed(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """File descriptors that the caller leaks must not reach the container."""
    leaked = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(20)]
    try:
        result = runtime.run(bundle.args("ls", "/proc/self/fd"), new_id(), fds=leaked).ok()
    finally:
        for descriptor in leaked:
            os.close(descriptor)
    assert result.stdout.split() == ["0", "1", "2", "3"]  # 3 is ls's own


def test_preserve_fds(container: MakeContainer, work: Path, runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """File descriptors 3 to N+2 reach the container unchanged; higher ones do not."""
    bundle.sh("cat <&3; cat <&4; echo written >&5; ls /proc/self/fd | tr '\\n' ' '").write()
    contents = []
    for name in ("three", "four"):
        (work / name).write_text(name + "\n")
        contents.append(os.open(work / name, os.O_RDONLY))
    contents.append(os.open(work / "five", os.O_WRONLY | os.O_CREAT))
    extra = os.open("/", os.O_RDONLY)
    result = _with_descriptors(
        runtime, [*contents, extra], "run", "--preserve-fds", "3", "--bundle", bundle.path, new_id()
    )
    assert result.ok().lines[:2] == ["three", "four"]
    assert result.lines[2].split() == ["0", "1", "2", "3", "4", "5", "6"]  # 6 is ls's own
    assert (work / "five").read_text() == "written\n"


def _with_descriptors(runtime: Runtime, descriptors: list[int], *words: object, **options: object) -> Result:
    """A call with these file descriptors as 3, 4, …; closes ours afterwards."""
    # The shell puts them in place and closes the others; the protocol's LISTEN_PID must name the runtime's process.
    high = [os.dup2(fd, 200 + index) for index, fd in enumerate(descriptors)]
    for fd in descriptors:
        os.close(fd)
    numbers = " ".join(f"{3 + index}<&{fd} {fd}<&-" for index, fd in enumerate(high))
    wrapper = ["/bin/bash", "-c", f'LISTEN_PID=$$ exec "$@" {numbers}', "sh"]
    try:
        return runtime.call(*words, prefix=wrapper, fds=high, **options)  # type: ignore[arg-type]
    finally:
        for fd in high:
            os.close(fd)


@pytest.mark.ocipy_only("in runc descriptors of Go's own fill the gap, and are mistaken for the caller's")
@pytest.mark.parametrize("command", ["run", "exec"])
@pytest.mark.parametrize("kept", [(4,), (3, 9), (9, 40)])
def test_numbers_between_the_preserved_descriptors_may_be_free(
    container: MakeContainer,
    runtime: Runtime,
    bundle: Bundle,
    new_id: NewId,
    work: Path,
    kept: tuple[int, ...],
    command: str,
) -> None:
    """podman --preserve-fd=9,40 passes 38. No file descriptor of the runtime gets a number in between, or reaches the
    container."""
    (work / "file").write_text("")
    script = "cd /proc/$$/fd; for fd in *; do readlink $fd | grep -q /file && echo $fd; done; ls -l >&2"
    flag = f"--preserve-fds={max(kept) - 2}"
    if command == "run":
        bundle.sh(script).write()
        words = ["run", flag, "--bundle", str(bundle.path), new_id()]
    else:
        words = ["exec", flag, container().start().id, "sh", "-c", script]
    opened = "".join(f" {fd}<{work}/file" for fd in kept)
    result = runtime.call(*words, prefix=["/bin/bash", "-c", f'exec "$@"{opened}', "sh"]).ok()
    assert sorted(int(line) for line in result.lines) == list(kept)
    assert len([line for line in result.stderr.splitlines() if "->" in line]) == 3 + len(kept)


@pytest.mark.ocipy_only("runc uses that descriptor itself")
def test_a_descriptor_that_fills_a_gap_leads_nowhere(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path
) -> None:
    """init's open file descriptors while it walks the container's paths (CVE-2024-21626): none leads to files."""
    find_init = """pid=$(sed 's/.*"pid": *//; s/[^0-9].*//')"""
    script = f"{find_init}; cd /proc/$pid/fd; for fd in *; do echo $fd $(readlink $fd); done > {work}/open"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    bundle.args("true").write()
    words = ["run", "--preserve-fds=30", "--bundle", str(bundle.path), new_id()]
    runtime.call(*words, prefix=["/bin/bash", "-c", 'exec "$@" 32</dev/null', "sh"]).ok()
    found = dict(line.split(" ", 1) for line in (work / "open").read_text().splitlines())
    assert {found[str(fd)] for fd in range(3, 32)} == {"anon_inode:[eventfd]"}


@pytest.mark.ocipy_only("in runc descriptors of Go's own fill the gap, and are mistaken for the caller's")
def test_the_last_preserved_descriptor_must_be_open(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.args("true").write()
    words = ["create", "--preserve-fds=2", "--bundle", str(bundle.path), new_id()]
    runtime.call(*words, prefix=["/bin/bash", "-c", 'exec "$@" 3</dev/null', "sh"]).fails("preserved-fd 1 (of 2)")
    assert runtime.ids() == []


@pytest.mark.ocipy_only("in runc descriptors of Go's own fill the gap, and are mistaken for the caller's")
def test_preserve_fds_that_are_not_open(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.args("true").write()
    runtime.call("create", "--preserve-fds", "2", "--bundle", bundle.path, new_id()).fails("preserve")
    assert runtime.ids() == []


def test_preserve_fds_needs_a_number(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.args("true").write()
    for number in ("x", "1.5", "1x"):
        runtime.call("create", "--preserve-fds", number, "--bundle", bundle.path, new_id()).fails(status=None)
    assert runtime.ids() == []


def test_listen_fds(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    """Socket activation: sd_listen_fds(3). LISTEN_PID is the process's own pid, which is 1."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(work / "socket"))
    server.listen()
    kept = os.dup(server.fileno())
    bundle.sh("echo $LISTEN_FDS $LISTEN_PID; ls -l /proc/self/fd/3 | grep -o socket").write()
    result = _with_descriptors(runtime, [kept], "run", "--bundle", bundle.path, new_id(), env={"LISTEN_FDS": "1"})
    server.close()
    assert result.ok().lines == ["1 1", "socket"]


@pytest.mark.parametrize("command", ["run", "create"])
@pytest.mark.parametrize("pid", [None, "", "1", "0", "x"])
def test_listen_fds_of_another_process_are_not_passed_on(
    runtime: Runtime, bundle: Bundle, new_id: NewId, pid: str | None, command: str
) -> None:
    """LISTEN_PID names their owner. A caller's stale variable would pass on an arbitrary file descriptor 3, or fail."""
    bundle.sh("echo fds=$LISTEN_FDS pid=$LISTEN_PID; ls -l /proc/$$/fd").write()
    for opened in (" 3</", ""):
        id = new_id()
        assignment = "" if pid is None else f'LISTEN_PID="{pid}" '
        prefix = ["/bin/bash", "-c", f'{assignment}exec "$@"{opened}', "sh"]
        words = [command, "--bundle", str(bundle.path), id]
        result = runtime.call(*words, prefix=prefix, env={"LISTEN_FDS": "1"}).ok()
        if command == "create":
            init = runtime.state(id)["pid"]
            runtime.start(id).ok()
            wait_until(partial(_has_ended, init))
            runtime.delete(id).ok()
        lines = result.stdout_path.read_text().splitlines()
        assert lines[0] == "fds= pid="
        assert len([line for line in lines if "->" in line]) == 3


def _has_ended(pid: int) -> bool:
    return process_state(pid) in ("", "Z")


def test_listen_fds_and_preserve_fds_add_up(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.sh("echo $LISTEN_FDS; ls /proc/self/fd | tr '\\n' ' '").write()
    descriptors = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
    result = _with_descriptors(
        runtime, descriptors, "run", "--preserve-fds", "2", "--bundle", bundle.path, new_id(), env={"LISTEN_FDS": "1"}
    )
    assert result.ok().lines[0] == "1"
    assert result.lines[1].split() == ["0", "1", "2", "3", "4", "5", "6"]


def test_no_socket_reaches_the_process(container: MakeContainer, work: Path, runtime: Runtime) -> None:
    """None of the runtime's sockets survives the exec."""
    one = container(sh="exec sleep 1000").start()
    assert not any(stat.S_ISSOCK(os.stat(f"/proc/{one.pid}/fd/{fd}").st_mode) for fd in open_files(one.pid))


def test_create_closes_its_streams(container: MakeContainer, pipe: tuple[int, int]) -> None:
    """Only the container keeps the pipe: when it ends, the engine sees the end of the stream."""
    one = container(sh="echo said", stderr=pipe[1]).start()
    os.close(pipe[1])
    one.wait_dead()
    begun = time.monotonic()
    assert os.read(pipe[0], 10) == b""
    assert time.monotonic() - begun < 5

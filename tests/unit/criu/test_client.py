"""Finding criu, calling it, and reading its log, with an executable that only speaks its protocol."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from ocipy.criu import client
from ocipy.criu.client import Criu, CriuSession, find, first_error, number_of, start
from ocipy.criu.messages import DUMP, FEATURE_CHECK, VERSION
from ocipy.errors import Error
from tests.harness.fake_criu import FakeCriu

LOG = """\
(00.000093) Running on vm Linux 6.1.0
(00.018291) Error (criu/tun.c:85): tun: Unable to create tun: No such file or directory
(00.025042) Found mmap_min_addr 0x10000
(00.131738) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.131739) 280 has Error (no error at all) in its name, far behind the time stamp
(00.131740) Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.
(00.141530) Error (criu/cr-dump.c:1635): Dump files (pid: 281) failed with -1
"""


def learn(path: Path | str) -> Criu:
    """Start a criu, learn its version, and end it."""
    program = start(find(str(path)))
    try:
        program.learn()
    finally:
        program.session.end()
    return program


def test_the_version_is_asked_for(tmp_path: Path) -> None:
    fake = FakeCriu(tmp_path / "criu")
    found = learn(fake.path)
    assert (found.path, found.version) == (str(fake.path), 31701)
    assert fake.requests() == [{"type": VERSION, "keep_open": True}]


def test_the_process_that_reported_its_version_serves_the_request(tmp_path: Path) -> None:
    fake = FakeCriu(tmp_path / "criu")
    program = start(str(fake.path))
    program.learn()
    program.session.send({"type": FEATURE_CHECK, "features": {"mem_track": True}})
    assert program.session.receive()[0]["features"]["mem_track"]
    program.session.end()


def test_criu_is_searched_for_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCriu(tmp_path / "criu")
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    assert find("") == str(tmp_path / "criu")


def test_files_that_cannot_be_executed_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("directory", "file", "program"):
        (tmp_path / name).mkdir()
    (tmp_path / "directory/criu").mkdir()
    (tmp_path / "file/criu").touch()
    FakeCriu(tmp_path / "program/criu")
    monkeypatch.setenv("PATH", f"{tmp_path}/directory:{tmp_path}/file:{tmp_path}/program")
    assert find("") == str(tmp_path / "program/criu")
    with pytest.raises(Error, match="it is a directory"):
        find(str(tmp_path / "directory/criu"))


def test_never_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCriu(tmp_path / "criu")
    monkeypatch.chdir(tmp_path)
    for path in (".:", ":", "relative"):
        monkeypatch.setenv("PATH", f"{path}:/nowhere")
        with pytest.raises(Error, match="criu is not installed"):
            find("")


def test_the_default_search_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    FakeCriu(tmp_path / "criu")
    monkeypatch.delenv("PATH")
    monkeypatch.setattr(client, "DEFAULT_PATH", str(tmp_path))
    assert find("") == str(tmp_path / "criu")


def test_a_named_criu_that_is_missing() -> None:
    with pytest.raises(Error) as caught:
        find("/nowhere/criu")
    assert caught.value.line == "--criu: cannot run /nowhere/criu: no such program"


def test_a_named_criu_that_is_not_executable(tmp_path: Path) -> None:
    (tmp_path / "criu").touch()
    with pytest.raises(Error, match="it is not executable"):
        find(str(tmp_path / "criu"))


def test_a_named_criu_in_a_closed_directory_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("posix.access", lambda path, mode: False)
    monkeypatch.setattr("posix.stat", refuse)
    with pytest.raises(Error) as caught:
        find("/closed/criu")
    assert caught.value.line == "--criu: cannot run /closed/criu: Permission denied"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ({"major_number": 2, "minor_number": 12}, "is version 2.12, which is too old"),
        ({}, "does not report its version, so it is too old"),
    ],
)
def test_a_criu_that_is_too_old(tmp_path: Path, version: dict[str, int], words: str) -> None:
    fake = FakeCriu(tmp_path / "criu", version=version)
    with pytest.raises(Error) as caught:
        learn(fake.path)
    assert words in caught.value.what and "install criu" in caught.value.hint


def test_a_program_other_than_criu(tmp_path: Path) -> None:
    fake = FakeCriu(tmp_path / "criu", exits=2)
    with pytest.raises(Error, match=r"does not answer as criu 3.0 does: it exited with status 2"):
        learn(fake.path)


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    program = tmp_path / "criu"
    program.write_text("#!/nowhere/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(Error) as caught:
        start(str(program))
    assert caught.value.what == f"cannot run {program}"


def test_a_build_between_two_versions_counts_as_the_next() -> None:
    assert number_of({"major_number": 3, "minor_number": 17, "sublevel": 1}) == 31701
    assert number_of({"major_number": 3, "minor_number": 17, "sublevel": 1, "gitid": "v3.17-9"}) == 31800
    assert number_of({}) == 0


def test_a_feature(tmp_path: Path) -> None:
    found = learn(FakeCriu(tmp_path / "criu", features={"mem_track": True}).path)
    found.check_feature("mem_track", "--pre-dump")
    with pytest.raises(Error, match="--lazy-pages needs criu's feature lazy_pages"):
        found.check_feature("lazy_pages", "--lazy-pages")


def test_a_session_leaves_no_descriptor_and_no_process(tmp_path: Path) -> None:
    fake = FakeCriu(tmp_path / "criu")
    before = sorted(os.listdir("/proc/self/fd"))
    learn(fake.path)
    session = CriuSession(str(fake.path))
    pid = session.pid
    session.end()
    session.end()
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_an_error_before_the_exec_is_reported(tmp_path: Path) -> None:
    def refuse() -> None:
        raise Error("not here", pointer="/root/path")

    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(Error) as caught:
        CriuSession(str(FakeCriu(tmp_path / "criu").path), prepare=refuse)
    assert caught.value.line == "/root/path: not here"
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_descriptors_are_passed_as_4_and_up(tmp_path: Path) -> None:
    program = tmp_path / "criu"
    program.write_text("#!/bin/sh\nreadlink /proc/self/fd/4 /proc/self/fd/5 > " + str(tmp_path / "seen") + "\n")
    program.chmod(0o755)
    one, other = os.open(tmp_path, os.O_RDONLY), os.open("/", os.O_RDONLY)
    session = CriuSession(str(program), fds=[other, one])
    session.wait()
    session.end()
    os.close(one)
    os.close(other)
    assert (tmp_path / "seen").read_text() == f"/\n{tmp_path}\n"


def test_the_first_error_is_the_cause(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    log.write_text(LOG)
    cause = "inet: Connected TCP socket, consider using --tcp-established option. (criu/sk-inet.c:191)"
    assert first_error(str(log)) == cause
    error = client.failure("criu cannot dump the container", {"type": DUMP, "cr_errno": 3}, str(log))
    assert error.line == f"criu cannot dump the container: {cause} (criu's log: {log})"
    assert error.hint == "give --tcp-established, here and at the restore"


def test_an_error_in_criu_s_kernel_tests_is_the_cause_only_if_there_is_no_other(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    log.write_text("".join(LOG.splitlines(keepends=True)[:3]))
    tried = "tun: Unable to create tun: No such file or directory (criu/tun.c:85)"
    assert (first_error(str(log)), first_error(str(log), trials=True)) == ("", tried)
    assert tried in client.failure("criu cannot dump", {}, str(log)).what
    assert "killed" in client.failure("criu cannot dump", {"cr_errmsg": "killed"}, str(log)).what


LOCK = """\
(00.141486) Found mmap_min_addr 0x10000
{}(00.143941) Error (criu/util.c:657): exited, status=1
{}"""
LOCKING = "(00.145392) Error (criu/net.c:3436): net: Locking network failed: iptables-restore returned -1.\n"


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        (
            'Error (criu/util.c:642): execvp("iptables-restore", ...) failed: No such file or directory\n',
            LOCKING,
            'execvp("iptables-restore", ...) failed: No such file or directory (criu/util.c:642)',
        ),
        ("", LOCKING, "net: Locking network failed: iptables-restore returned -1. (criu/net.c:3436)"),
        ("", "", "exited, status=1 (criu/util.c:657)"),
    ],
)
def test_a_program_that_criu_calls_is_named(tmp_path: Path, before: str, after: str, cause: str) -> None:
    log = tmp_path / "dump.log"
    log.write_text(LOCK.format(before, after))
    error = client.failure("criu cannot dump", {}, str(log))
    assert error.what == f"criu cannot dump: {cause} (criu's log: {log})"
    assert ("install iptables" in error.hint) == bool(before)


def test_a_missing_server_is_found_in_a_log_line_without_error(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    log.write_text(
        "(00.031886) Connecting to server 127.0.0.1:1\n"
        "(00.031926) Can't connect to server 127.0.0.1:1\n"
        "(00.031950) Error (compel/src/lib/infect.c:418): Unable to detach from 23911: No such process\n"
    )
    error = client.failure("criu cannot dump", {}, str(log))
    assert error.what.startswith("criu cannot dump: Can't connect to server 127.0.0.1:1 (criu's log")
    assert "criu page-server" in error.hint


def test_the_end_of_criu_is_noticed_while_its_child_has_the_socket(tmp_path: Path) -> None:
    program = tmp_path / "criu"
    program.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/pid\nexit 3\n")
    program.chmod(0o755)
    session = CriuSession(str(program))
    with pytest.raises(client.NoAnswer, match="it exited with status 3"):
        session.receive()
    session.end()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_log_that_says_nothing(tmp_path: Path) -> None:
    error = client.failure("criu cannot dump", {"cr_errno": 3}, str(tmp_path / "no.log"))
    assert error.line == f"criu cannot dump: it gives no reason (criu's log: {tmp_path}/no.log): No such process"
    error = client.failure("criu cannot dump", {"cr_errmsg": "words"}, str(tmp_path / "no.log"))
    assert error.line == f"criu cannot dump: words (criu's log: {tmp_path}/no.log)"

"""What start and exec read from exec.report: the messages of a process on its way to the exec."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from ocipy.children import interrupts
from ocipy.errors import Error
from ocipy.host import report
from ocipy.init.fifo import AWAKE, EXECUTING, FILTERED
from ocipy.init.waiting import EXECUTE, SECCOMP_LOAD
from tests.unit.child import in_child


@pytest.fixture
def ends() -> Iterator[tuple[int, int, int]]:
    """Both ends of a report, and the pidfd of a living process."""
    reading, writing = os.pipe()
    pidfd = os.pidfd_open(os.getpid())
    yield reading, writing, pidfd
    os.close(pidfd)
    os.close(reading)


def read(reading: int, pidfd: int) -> bytes:
    return report.read_to_end(reading, "the init process", os.getpid(), pidfd, -1)


def test_end_of_file_means_the_exec(ends: tuple[int, int, int]) -> None:
    reading, writing, pidfd = ends
    os.write(writing, AWAKE + EXECUTING)
    os.close(writing)
    assert read(reading, pidfd) == AWAKE + EXECUTING


def test_an_endless_message_is_cut_off(ends: tuple[int, int, int]) -> None:
    reading, writing, pidfd = ends
    os.write(writing, b"x" * report.MAX_MESSAGE)
    assert len(read(reading, pidfd)) == report.MAX_MESSAGE
    os.close(writing)


def test_the_death_of_the_process_ends_the_wait_even_if_others_hold_the_pipe(ends: tuple[int, int, int]) -> None:
    """Its last message is read first."""
    reading, writing, _ = ends
    pid = os.fork()
    if pid == 0:
        os.write(writing, AWAKE)
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    assert report.read_to_end(reading, "the init process", pid, pidfd, -1) == AWAKE
    os.waitpid(pid, 0)
    os.close(pidfd)
    os.close(writing)


def test_a_signal_ends_the_wait(ends: tuple[int, int, int]) -> None:
    reading, writing, pidfd = ends

    def interrupted() -> None:
        caught = interrupts.catch()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Error, match="interrupted by SIGTERM"):
            report.read_to_end(reading, "the init process", os.getpid(), pidfd, caught)

    in_child(interrupted)
    os.close(writing)


@pytest.mark.parametrize("said", [b"", AWAKE, AWAKE + EXECUTING, AWAKE + EXECUTING + FILTERED])
def test_the_bytes_before_the_exec_are_not_a_failure(said: bytes) -> None:
    report.raise_failure(said)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"what": "cannot do it", "pointer": "/x"}, "cannot do it"),
        ({"step": EXECUTE, "what": '"/bin/x"', "errno": 13, "pointer": "/process/args"}, "permission denied"),
        ({"step": SECCOMP_LOAD, "what": "", "errno": 22, "pointer": "/linux/seccomp"}, "cannot load the filter"),
        ([], "malformed"),
        ("text", "malformed"),
    ],
)
def test_a_failure_is_an_error(message: object, words: str) -> None:
    with pytest.raises(Error, match=words) as raised:
        report.raise_failure(AWAKE + EXECUTING + FILTERED + json.dumps(message).encode())
    if isinstance(message, dict):
        assert raised.value.pointer == message["pointer"]


def test_a_message_that_is_not_json_is_an_error() -> None:
    with pytest.raises(Error, match="malformed"):
        report.raise_failure(AWAKE + b"\xff{")

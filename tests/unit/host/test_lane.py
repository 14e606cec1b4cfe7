"""The host lane does not trust the init process's messages: it checks their types and lengths."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from ocipy.children import interrupts
from ocipy.errors import Error
from ocipy.host import lane as host_lane
from ocipy.host.context import HostRun
from ocipy.linux import _kernel, channel
from ocipy.linux.channel import Channel
from ocipy.plan.lane import Adopt, TellInit
from ocipy.plan.model import Options, Plan
from ocipy.state.state import State
from tests.unit.child import in_child


@pytest.fixture
def ends() -> Iterator[tuple[HostRun, Channel]]:
    """A run with a channel, and the channel's other end."""
    ours, theirs = channel.pair()
    run = HostRun({}, Options(container_id="c", bundle="/b"), Plan(), State("/nowhere/c", "c", "/b"))  # type: ignore[typeddict-item]
    run.channel = ours
    before = os.listdir("/proc/self/fd")
    yield run, theirs
    assert os.listdir("/proc/self/fd") == before, "a descriptor is left open"
    os.close(ours.fd)
    os.close(theirs.fd)


def _raw(theirs: Channel, data: bytes, fds: tuple[int, ...] = ()) -> None:
    _kernel.send(theirs.fd, data, fds)


@pytest.mark.parametrize(
    "data",
    [b"x", b"[]", b"{}", b'{"kind":1}', b'{"kind":null}', b'"waiting"', b'{"kind":"waiting"', b"\xff\xfe", b"[" * 5000],
)
def test_no_message_at_all(ends: tuple[HostRun, Channel], data: bytes) -> None:
    run, theirs = ends
    _raw(theirs, data)
    with pytest.raises(Error, match="a malformed message"):
        host_lane.wait_for(run, "waiting")


def test_a_message_that_is_too_long(ends: tuple[HostRun, Channel]) -> None:
    run, theirs = ends
    _raw(theirs, b'{"kind":"waiting","x":"' + b"x" * channel.MAX_MESSAGE + b'"}')
    with pytest.raises(OSError, match="Message too long"):
        host_lane.wait_for(run, "waiting")


def test_an_unexpected_barrier_with_control_characters(ends: tuple[HostRun, Channel]) -> None:
    run, theirs = ends
    theirs.send("\x1b[2J" + "x" * 1000)
    with pytest.raises(Error) as caught:
        host_lane.wait_for(run, "waiting")
    assert len(caught.value.line) < 200
    assert caught.value.line.isprintable()


@pytest.mark.parametrize("kind", ["waiting", "error", "console", "nonsense"])
def test_unexpected_descriptors_are_closed(ends: tuple[HostRun, Channel], kind: str) -> None:
    """A console that is not a terminal is refused, whatever its name."""
    run, theirs = ends
    _raw(theirs, b'{"kind":"%s","what":"x","status":0}' % kind.encode(), (theirs.fd,))
    if kind == "waiting":
        host_lane.wait_for(run, kind)
    else:
        with pytest.raises(Error) as caught:
            host_lane.wait_for(run, "waiting")
        assert caught.value.status == 1
    assert run.master == -1


def test_more_descriptors_than_one(ends: tuple[HostRun, Channel]) -> None:
    run, theirs = ends
    _raw(theirs, b'{"kind":"waiting"}', (theirs.fd, theirs.fd))
    with pytest.raises(OSError, match="Message too long"):
        host_lane.wait_for(run, "waiting")


@pytest.mark.parametrize(
    "pid",
    [
        None,
        "7",
        1,
        0,
        -1,
        2**31,
        2**70,
        1.5,
        True,
        [],
        pytest.param(os.getpid(), id="own"),
        pytest.param(os.getppid(), id="the parent's"),
    ],
)
def test_only_a_child_of_ours_is_adopted(ends: tuple[HostRun, Channel], pid: Any) -> None:
    run, theirs = ends
    run.pid, run.pidfd = 7, -1
    run.stage = 7
    theirs.send("pid", {"pid": pid})
    with pytest.raises(Error, match="a malformed message"):
        host_lane.adopt(run, Adopt())
    assert run.pid == 7


def test_a_signal_ends_the_wait(ends: tuple[HostRun, Channel]) -> None:
    def interrupted() -> bool:
        run, theirs = ends
        run.interrupts = interrupts.catch()
        theirs.send("waiting")
        before = host_lane.wait_for(run, "waiting")["kind"]
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            host_lane.wait_for(run, "waiting")
        except Error as error:
            return (before, error.line, error.status) == ("waiting", "interrupted by SIGTERM", 143)
        return False

    assert in_child(interrupted) == 0


def test_a_signal_that_the_caller_ignores_is_left_alone() -> None:
    def ignored() -> bool:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        fd = interrupts.catch()
        os.kill(os.getpid(), signal.SIGHUP)
        interrupts.check_interrupts(fd)
        interrupts.check_interrupts(-1)
        return signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    assert in_child(ignored) == 0


@pytest.mark.parametrize(
    ("fault", "line"),
    [(0, "cannot chdir"), (errno.ENOMEM, "/process/cwd: the kernel refused the step tell go: Cannot allocate memory")],
)
def test_the_error_says_why_the_process_exited(
    ends: tuple[HostRun, Channel], monkeypatch: pytest.MonkeyPatch, fault: int, line: str
) -> None:
    """It reported an error and exited while the host lane was about to send it a message.

    If that report cannot be read, the error names the step instead of only saying "exited with status 1".
    """
    run, theirs = ends
    theirs.send("error", Error("cannot chdir").to_message())
    socket.socket(fileno=os.dup(theirs.fd)).shutdown(socket.SHUT_RD)  # sending to it fails with EPIPE
    run.plan.host.append(TellInit("/process/cwd", barrier="go"))
    if fault:
        monkeypatch.setattr(_kernel, "recv", _refuse(fault))
    with pytest.raises(Error) as caught:
        host_lane.carry_out(run)
    assert line in caught.value.line


def _refuse(number: int) -> Callable[..., NoReturn]:
    def refuse(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return refuse

"""Processes of a container stop those that enter it before they execute their command."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.harness import Bundle, Container, arguments_of, process_state, wait_until

MakeContainer = Callable[..., Container]
FAILED = 255

# Stops each new process as soon as it appears.
ONCE = """
seen=" 1 $(exec sh -c 'echo $PPID') "; echo ready
while :; do for p in /proc/[0-9]*; do p=${p#/proc/}
  case "$seen" in *" $p "*) ;; *) seen="$seen$p "; kill -STOP $p;; esac
done; done 2>/dev/null"""
# Stops all processes except itself and the first, as fast as it can (kill(2)).
ALWAYS = "echo ready; while :; do kill -STOP -1; done"


@pytest.fixture
def attacked(container: MakeContainer, bundle: Bundle) -> Callable[[str], Container]:
    def make(script: str) -> Container:
        bundle.capabilities("CAP_KILL")
        # The first process of a pid namespace gets no stop signal from inside, but its children do.
        one = container(bundle, sh=f"( {script} ) & wait").start()
        one.wait_output("ready")
        return one

    return make


def test_exec_continues_if_a_process_stops_each_joiner(
    attacked: Callable[[str], Container], detached: Callable[..., int]
) -> None:
    one = attacked(ONCE)
    for _ in range(5):
        pid = detached(one, "sleep", "1000")
        assert arguments_of(pid) == ["sleep", "1000"]


@pytest.mark.ocipy_only("runc hangs forever, in most of its attempts")
def test_exec_ends_if_a_process_keeps_stopping_its_joiner(
    attacked: Callable[[str], Container],
) -> None:
    """exec gets through between two stops, or reports that it is stopped, and removes its processes."""
    one = attacked(ALWAYS)
    file = one.bundle.path / "pid"
    for _ in range(3):
        result = one.exec("true", flags=["--detach", "--pid-file", file], timeout=20)
        if result.status == 0:
            os.kill(int(file.read_text()), signal.SIGKILL)
            os.waitpid(int(file.read_text()), 0)
        else:
            result.fails("is stopped again each time it is continued", status=FAILED)
            assert not file.exists()


@pytest.fixture
def neighbour(attacked: Callable[[str], Container], make_bundle: Callable[..., Bundle]) -> Bundle:
    """The bundle of a container that joins the pid namespace of one that stops the processes that enter it."""
    attacker = attacked(ONCE)
    bundle = make_bundle().args("sleep", "1000")
    namespaces = bundle.linux["namespaces"]
    next(entry for entry in namespaces if entry["type"] == "pid")["path"] = f"/proc/{attacker.pid}/ns/pid"
    return bundle


def test_create_continues_if_a_process_stops_its_init(neighbour: Bundle, container: MakeContainer) -> None:
    one = container(neighbour).start()
    assert one.status in ("created", "running")
    one.end()


@pytest.mark.ocipy_only("runc hangs forever")
def test_start_continues_if_the_waiting_init_was_stopped(container: MakeContainer) -> None:
    one = container()
    os.kill(one.pid, signal.SIGSTOP)
    wait_until(lambda: process_state(one.pid) == "T")
    one.start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")

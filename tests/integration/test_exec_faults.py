"""exec with each of its system calls failing, and with signals at any call: one clear line, nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Container, Result, Runtime, descendants, namespace, process_state, wait_until
from tests.integration.test_faults import BEGIN, NAMED, SAMPLES

pytestmark = [pytest.mark.ocipy_only("its own calls, one by one"), pytest.mark.needs_program("strace")]

MakeContainer = Callable[..., Container]
FAILED = 255
FAULTS = {
    "capset": "EPERM",
    "chdir": "EACCES",
    "clone3": "EAGAIN",
    "close_range": "EINVAL",
    "fsopen": "EMFILE",
    "keyctl": "EDQUOT",
    "newfstatat": "EIO",
    "openat": "EMFILE",
    "openat2": "ENFILE",
    "pidfd_open": "EMFILE",
    "pipe2": "EMFILE",
    "poll": "ENOMEM",
    "prctl": "EINVAL",
    "prlimit64": "EPERM",
    "read": "EIO",
    "recvmsg": "ENOMEM",
    "sendmsg": "ENOBUFS",
    "setns": "EPERM",
    "setresuid": "EAGAIN",
    "setsid": "EACCES",
    "signalfd4": "EMFILE",
    "socketpair": "EMFILE",
    "wait4": "EINTR",
    "waitid": "ECHILD",
    "write": "ENOSPC",
}


class Injector:
    """Executes `true` in a container under strace, with one fault each."""

    def __init__(self, one: Container, work: Path) -> None:
        self.one = one
        self.file = work / "pid"
        self.before = descendants()
        trace = work / "trace"
        one.exec("true", flags=["--pid-file", self.file], prefix=["strace", "-ff", "-o", str(trace)]).ok()
        self.file.unlink()
        self.first: Counter[str] = Counter()
        self.last: Counter[str] = Counter()
        for path in work.glob("trace.*"):
            text = path.read_text(errors="replace")
            self.last |= Counter(re.findall(r"^(\w+)\(", text, re.MULTILINE))
            if BEGIN in text:
                self.first = Counter(re.findall(r"^(\w+)\(", text.partition(BEGIN)[0], re.MULTILINE))

    def places(self, call: str) -> list[int]:
        """Choose the calls to try."""
        first, last = self.first[call] + 1, self.last[call]
        return sorted({first + (last - first) * index // max(SAMPLES - 1, 1) for index in range(SAMPLES)})

    def inject(self, call: str, place: int, fault: str) -> Result:
        strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"]
        prefix = [*strace, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={place}"]
        return self.one.exec("true", flags=["--pid-file", self.file], prefix=prefix)

    def nothing_left(self) -> None:
        """No process, and no pid file unless the call wrote it; the container is unchanged."""
        wait_until(lambda: not descendants() - self.before)
        assert process_state(self.one.pid) == "S"
        self.file.unlink(missing_ok=True)

    def reap(self) -> None:
        """Reap the orphan of a killed runtime, which its caller adopts."""
        for pid in descendants() - self.before:
            wait_until(lambda: process_state(pid) in ("Z", ""))  # noqa: B023
            os.waitpid(pid, 0)

    def fail(self, call: str, error: str) -> None:
        assert self.last[call], f"nobody calls {call}"
        for place in self.places(call):
            result = self.inject(call, place, f"error={error}")
            told = [
                line
                for line in result.stderr.splitlines()
                if not line.startswith(("  ", "ocipy: warning: ", "strace: "))
            ]
            assert "internal error" not in result.stderr, result
            assert "Traceback" not in result.stderr, result
            # A later error may report the failed write.
            expected = ((0, 0), (FAILED, 1), *([(FAILED, 0)] if call == "write" else []))
            assert (result.status, len(told)) in expected, f"{call} {place} {error}: {result!r}"
            assert all(line.startswith("ocipy: exec ") for line in told), result
            assert all(NAMED.search(line) for line in told), result
            self.nothing_left()

    def interrupt(self, call: str, number: signal.Signals) -> None:
        for place in self.places(call):
            result = self.inject(call, place, f"signal={number.name}")
            assert result.status in (0, FAILED, 128 + number, -number), f"{call} {place}: {result!r}"
            assert "internal error" not in result.stderr, result
            if result.status == -number:
                self.reap()
            self.nothing_left()


@pytest.fixture
def injector(container: MakeContainer, work: Path) -> Iterator[Injector]:
    yield Injector(container().start(), work)


@pytest.mark.parametrize("call", FAULTS)
def test_a_call_fails(injector: Injector, call: str) -> None:
    injector.fail(call, FAULTS[call])


@pytest.mark.parametrize(("call", "error"), [("setns", "EINVAL"), ("setns", "ESRCH"), ("clone3", "ENOMEM")])
def test_a_call_fails_in_another_way(injector: Injector, call: str, error: str) -> None:
    injector.fail(call, error)


def test_namespaces_one_by_one(injector: Injector) -> None:
    """An older kernel's setns accepts no pidfd, and refuses one with another user namespace as a whole."""
    for error in ("EINVAL", "EPERM"):
        injector.inject("setns", 1, f"error={error}").ok()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("call", ["clone3", "recvmsg", "sendmsg", "setns", "poll"])
def test_a_signal_comes(injector: Injector, call: str, number: signal.Signals) -> None:
    injector.interrupt(call, number)


@pytest.mark.parametrize("victim", ["process", "container"])
def test_the_process_is_killed_before_it_has_told_its_pid(
    runtime: Runtime, container: MakeContainer, work: Path, victim: str
) -> None:
    one = container().start()
    before = descendants()
    delayed = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=sendmsg:delay_enter=1000000"]
    call = runtime.begin("exec", one.id, "true", prefix=[*delayed, "-e", "trace=sendmsg"])

    def entered() -> list[int]:
        return [pid for pid in descendants() - before if has_entered(pid, one)]

    wait_until(lambda: bool(entered()), "the process in the container")
    os.kill(entered()[0] if victim == "process" else one.pid, signal.SIGKILL)
    call.wait(30).fails("the process was killed", status=FAILED)
    assert not descendants() - before


def test_a_pid_that_now_belongs_to_another_process(runtime: Runtime, container: MakeContainer, work: Path) -> None:
    """The container's process dies after the liveness check, and its pid goes to a host process with the runtime's
    namespaces and root. The command must not be executed there."""
    one = container().start()
    trap = ["strace", "-qq", "-o", str(work / "calls"), "-P", f"/proc/{one.pid}/ns/cgroup",
            "-e", "inject=readlink,readlinkat:delay_enter=3000000"]  # fmt: skip
    call = runtime.begin("exec", one.id, "sh", "-c", f"echo out > {work}/escaped", prefix=trap)
    wait_until(lambda: (work / "calls").exists() and runtime_child(call.pid), "the exec")
    time.sleep(1)
    one.kill().reap()
    taken = take_pid(one.pid)
    try:
        call.wait(60).fails("container not running", status=255)
    finally:
        taken.kill()
        taken.wait()
    assert not (work / "escaped").exists()


def has_entered(pid: int, one: Container) -> bool:
    try:
        return namespace(pid, "pid") == one.namespace("pid")
    except FileNotFoundError:  # it has ended in the meantime
        return False


def runtime_child(pid: int) -> bool:
    """Return the pid of the runtime once strace has started it."""
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def take_pid(pid: int) -> subprocess.Popen[bytes]:
    """Start a child with this pid (ns_last_pid, pid_namespaces(7)). Others start too: it may take several tries."""
    for _ in range(200):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        process = subprocess.Popen(["sleep", "1000"])
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    pytest.skip("other processes took the pid")

"""linux.seccomp: the filter's effect on the container's process."""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Result, Runtime, process_state, wait_until

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
Shell = Callable[..., Result]
CACHE = Path("/var/cache/ocipy/seccomp")
MKDIR = ["mkdir", "mkdirat"]
KILLED = "the init process was killed before it could execute the command: linux.seccomp"


def rule(names: list[str], action: str, **rest: Any) -> dict[str, Any]:
    return {"names": names, "action": f"SCMP_ACT_{action}", **rest}


def allow_all_but(bundle: Bundle, *rules: dict[str, Any], **rest: Any) -> Bundle:
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **rest}
    return bundle


@pytest.fixture(params=[True, False], ids=["no-new-privileges", "with-privileges"])
def both(request: pytest.FixtureRequest, bundle: Bundle) -> Bundle:
    """The filter is loaded last with noNewPrivileges, and before the ids change without."""
    bundle.process["noNewPrivileges"] = request.param
    return bundle


def test_an_empty_default_action_is_no_filter(sh: Shell, both: Bundle) -> None:
    both.linux["seccomp"] = {"defaultAction": "", "architectures": None}
    assert "Seccomp:\t0\n" in sh("cat /proc/self/status", both).ok().stdout


@pytest.mark.smoke
def test_errno(sh: Shell, both: Bundle) -> None:
    allow_all_but(both, rule(MKDIR, "ERRNO"))
    result = sh("mkdir /dev/shm/a; grep ^Seccomp: /proc/self/status; rmdir /dev/shm/nothing", both)
    assert "Operation not permitted" in result.stderr
    assert "No such file" in result.stderr
    assert result.stdout.split() == ["Seccomp:", "2"]


def test_a_configured_errno(sh: Shell, both: Bundle) -> None:
    allow_all_but(both, rule(MKDIR, "ERRNO", errnoRet=errno.ENOTTY))
    assert os.strerror(errno.ENOTTY) in sh("mkdir /dev/shm/a", both).stderr


@pytest.mark.parametrize("action", ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"])
def test_killed(runtime: Runtime, both: Bundle, new_id: NewId, action: str) -> None:
    allow_all_but(both, rule(["uname"], action)).args("uname")
    assert runtime.run(both, new_id()).status == 128 + signal.SIGSYS


@pytest.mark.ocipy_only("runc's init has other calls to make")
@pytest.mark.parametrize("action", ["ERRNO", "KILL_PROCESS"])
def test_a_profile_that_permits_nothing_ends_the_process(
    runtime: Runtime, both: Bundle, new_id: NewId, action: str
) -> None:
    """Init can neither execute, nor report that, nor exit. It must not run forever."""
    both.linux["seccomp"] = {"defaultAction": f"SCMP_ACT_{action}"}
    result = runtime.run(both, new_id())
    if both.process["noNewPrivileges"]:
        assert result.status == 128 + (signal.SIGILL if action == "ERRNO" else signal.SIGSYS)
        assert KILLED in result.stderr
    else:
        result.fails("the init process was killed by signal", "linux.seccomp")


@pytest.mark.ocipy_only("runc does not say why the process has ended")
def test_a_profile_that_kills_at_the_exec_is_named(
    runtime: Runtime, container: MakeContainer, both: Bundle, new_id: NewId
) -> None:
    """By run and by start. The death of a command that the filter kills later is not: its status says enough."""
    allow_all_but(both, rule(["execve"], "KILL_PROCESS"))
    result = runtime.run(both, new_id())
    assert (result.status, KILLED in result.stderr) == (128 + signal.SIGSYS, True)
    created = container(both)
    assert KILLED in runtime.start(created.id).stderr
    created.reap()
    allow_all_but(both, rule(["uname"], "KILL_PROCESS")).args("uname")
    result = runtime.run(both, new_id())
    assert (result.status, KILLED in result.stderr) == (128 + signal.SIGSYS, False)


@pytest.mark.ocipy_only("runc does not say why the process has ended")
@pytest.mark.parametrize("call", ["execve", "uname"])
def test_a_profile_that_kills_the_process_of_exec_is_named(
    runtime: Runtime, container: MakeContainer, both: Bundle, call: str
) -> None:
    """A created container takes an exec, though its first process could not execute anything either."""
    created = container(allow_all_but(both, rule([call], "KILL_PROCESS")))
    result = runtime.call("exec", created.id, "uname")
    assert result.status == 128 + signal.SIGSYS
    said = f"{created.id}: the process was killed before it could execute the command: linux.seccomp"
    assert (said in result.stderr) == (call == "execve")


@pytest.mark.parametrize("action", ["ALLOW", "LOG"])
def test_permitted(sh: Shell, both: Bundle, action: str) -> None:
    both.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_LOG" if action == "ALLOW" else "SCMP_ACT_ALLOW",
        "syscalls": [rule(MKDIR, action)],
    }
    sh("mkdir /dev/shm/a && grep -q 'Seccomp:.2' /proc/self/status", both).ok()


def test_trace_without_a_tracer_is_enosys(sh: Shell, bundle: Bundle) -> None:
    allow_all_but(bundle, rule(MKDIR, "TRACE"))
    assert os.strerror(errno.ENOSYS) in sh("mkdir /dev/shm/a", bundle).stderr


def test_arguments(sh: Shell, bundle: Bundle) -> None:
    """kill is denied for the signals USR1 and USR2 (two conditions on one argument), and for 0 with pid 1."""

    def equals(index: int, value: int) -> dict[str, Any]:
        return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}

    allow_all_but(
        bundle,
        rule(["kill"], "ERRNO", errnoRet=errno.EBUSY, args=[equals(1, signal.SIGUSR1), equals(1, signal.SIGUSR2)]),
        rule(["kill"], "ERRNO", errnoRet=errno.EBUSY, args=[equals(0, 1), equals(1, 0)]),
    )
    script = """
        trap '' USR1 USR2 CONT
        for number in USR1 USR2 CONT 0; do kill -$number $$ 2>/dev/null && echo $number; done
        sleep 5 & kill -0 $! && echo other; kill $!
    """
    assert sh(script, bundle).stdout.split() == ["CONT", "other"]


def test_unknown_names_and_all_architectures(sh: Shell, bundle: Bundle) -> None:
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    allow_all_but(bundle, rule(["no_such_call", *MKDIR], "ERRNO"), architectures=architectures)
    if os.uname().machine != "x86_64":
        bundle.linux["seccomp"].pop("architectures")
    assert "Operation not permitted" in sh("mkdir /dev/shm/a", bundle).stderr


@pytest.mark.parametrize(
    "flags",
    [None, [], ["SECCOMP_FILTER_FLAG_TSYNC"], ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]],
)
def test_flags(sh: Shell, bundle: Bundle, flags: list[str] | None) -> None:
    allow_all_but(bundle, rule(MKDIR, "ERRNO"), flags=flags)
    result = sh("mkdir /dev/shm/a; grep Speculation_Store_Bypass /proc/self/status", bundle)
    assert "Operation not permitted" in result.stderr


@pytest.mark.ocipy_only("runc loads the filter earlier and needs more of the profile")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the list is of x86_64")
def test_with_no_new_privileges_a_profile_need_permit_almost_nothing(
    runtime: Runtime, bundle: Bundle, new_id: NewId
) -> None:
    """After the filter the runtime makes only the execve, apart from calls that the payload makes too."""
    payload = [
        "arch_prctl", "brk", "exit_group", "getrandom", "getuid", "mmap", "mprotect", "munmap", "prctl", "prlimit64",
        "readlink", "readlinkat", "rseq", "set_robust_list", "set_tid_address", "write",
    ]  # fmt: skip
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [rule(["execve", *payload], "ALLOW")],
    }
    bundle.args("echo", "alive")
    assert runtime.run(bundle, new_id()).ok().stdout == "alive\n"


def test_ids_and_capabilities_change_under_the_filter(sh: Shell, bundle: Bundle) -> None:
    """Without no_new_privs the filter comes before: as with runc, the profile then governs these calls too."""
    bundle.process["noNewPrivileges"] = False
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    allow_all_but(bundle, rule(MKDIR, "ERRNO"))
    assert sh("id -u; mkdir /dev/shm/a", bundle).stdout == "1000\n"


def test_in_a_user_namespace(sh: Shell, both: Bundle) -> None:
    allow_all_but(both, rule(MKDIR, "ERRNO")).user_namespace()
    assert "Operation not permitted" in sh("mkdir /dev/shm/a", both).stderr


@pytest.mark.ocipy_only("the words are ocipy's")
@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}, "/linux/seccomp/defaultErrnoRet"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_S390X"]}, "/linux/seccomp/architectures/0"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(MKDIR, "NOTIFY")]}, "/linux/seccomp/listenerPath"),
    ],
)
def test_refused(runtime: Runtime, bundle: Bundle, new_id: NewId, profile: dict[str, Any], words: str) -> None:
    bundle.linux["seccomp"] = profile
    runtime.create(bundle, new_id()).fails(words)
    assert runtime.ids() == []


# Cached filters.


@pytest.fixture
def kept() -> Iterator[Callable[[], set[Path]]]:
    """Return a function for the files that the test has added to the cache. They are removed at the end."""
    before = set(CACHE.glob("*"))

    def added() -> set[Path]:
        return set(CACHE.glob("*")) - before

    yield added
    for path in added():
        path.unlink()


@pytest.mark.ocipy_only("runc has no cache of filters")
def test_a_cached_filter_that_was_tampered_with_is_not_used(
    sh: Shell, bundle: Bundle, kept: Callable[[], set[Path]]
) -> None:
    # A unique profile.
    allow_all_but(bundle, rule(MKDIR, "ERRNO", errnoRet=1000 + os.getpid() % 3000))
    bundle.linux["seccomp"]["syscalls"][0]["errnoRet"] = errno.ENOTTY
    bundle.linux["seccomp"]["syscalls"].append(rule([f"no_such_call_{os.getpid()}"], "ERRNO"))

    def filtered() -> bool:
        return os.strerror(errno.ENOTTY) in sh("mkdir /dev/shm/a", bundle).stderr

    assert filtered()
    files = [path for path in kept() if path.name != "libseccomp"]
    assert len(files) == 1
    assert files[0].stat().st_mode & 0o7777 == 0o600
    assert CACHE.stat().st_mode & 0o7777 == 0o700
    whole = files[0].read_bytes()
    assert filtered()
    assert files[0].read_bytes() == whole
    # The program that permits everything: BPF_RET with SECCOMP_RET_ALLOW.
    files[0].write_bytes(whole[:-16] + struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000) * 2)
    assert filtered()
    assert files[0].read_bytes() == whole
    files[0].chmod(0o666)
    assert filtered()
    assert files[0].stat().st_mode & 0o7777 == 0o600


# SCMP_ACT_NOTIFY: an agent answers in the kernel's place (seccomp_unotify(2)).

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND
DEFIANT = errno.ENOTTY


class Agent:
    """Accept one container, and answer each of its calls with a special errno."""

    def __init__(self, path: Path) -> None:
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen()
        self.server.settimeout(20)
        self.message: dict[str, Any] = {}
        self.calls = 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self.server.accept()
        except TimeoutError:
            return
        with connection:
            size = array.array("i").itemsize
            data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(8 * size))
            assert len(ancillary) == 1
            fds = array.array("i", ancillary[0][2])
            while part := connection.recv(65536):
                data += part
        self.message = json.loads(data)
        assert len(fds) == 1
        while not self.stopped.is_set():
            if not select.select([fds[0]], [], [], 0.05)[0]:
                continue
            request = bytearray(80)
            try:
                fcntl.ioctl(fds[0], RECEIVE, request)
            except OSError:
                continue  # the process is gone
            self.calls += 1
            answer = request[:8] + struct.pack("=qiI", 0, -DEFIANT, 0)
            fcntl.ioctl(fds[0], SEND, answer)
        os.close(fds[0])

    def end(self) -> None:
        self.stopped.set()
        self.thread.join()
        self.server.close()


@pytest.fixture
def agent(work: Path) -> Iterator[Agent]:
    one = Agent(work / "agent")
    yield one
    one.end()


def test_notify(container: MakeContainer, both: Bundle, agent: Agent, work: Path) -> None:
    both.config["annotations"] = {"org.example": "x" * 1000}
    allow_all_but(
        both, rule(MKDIR, "NOTIFY"), listenerPath=str(work / "agent"), listenerMetadata="opaque",
    )  # fmt: skip
    one = container(both, sh="mkdir /dev/shm/a; sleep 1000")
    wait_until(lambda: bool(agent.message), "the agent's message")
    assert agent.message["fds"] == ["seccompFd"]
    assert agent.message["metadata"] == "opaque"
    assert agent.message["pid"] == one.pid
    assert agent.message["state"]["id"] == one.id
    assert agent.message["state"]["status"] == "creating"
    assert agent.message["state"]["annotations"] == both.config["annotations"]
    assert agent.calls == 0
    one.start()
    wait_until(lambda: os.strerror(DEFIANT) in one.stderr, "the agent's answer")
    assert agent.calls == 1
    assert process_state(one.pid) in ("R", "S")


def test_notify_without_an_agent(runtime: Runtime, both: Bundle, new_id: NewId, work: Path) -> None:
    allow_all_but(both, rule(MKDIR, "NOTIFY"), listenerPath=str(work / "nobody"))
    runtime.create(both, new_id()).fails("nobody")
    assert runtime.ids() == []


def test_a_listener_path_that_is_not_used(sh: Shell, bundle: Bundle, work: Path) -> None:
    allow_all_but(bundle, rule(MKDIR, "ERRNO"), listenerPath=str(work / "nobody"))
    assert "Operation not permitted" in sh("mkdir /dev/shm/a", bundle).stderr

"""The C extension's functions for processes, signals, seccomp and data, without root."""

from __future__ import annotations

import ast
import ctypes
import errno
import fcntl
import hashlib
import os
import resource
import signal
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocipy.linux import _kernel
from ocipy.linux import constants as c
from tests.unit.child import in_child

STUB = Path(_kernel.__file__).with_name("_kernel.pyi")
PR_GET_TID_ADDRESS = 40
RT_SIGACTION = {"x86_64": 13, "aarch64": 134}.get(os.uname().machine, 0)


def test_the_stub_names_all_functions() -> None:
    described = {node.name for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert described == {name for name in dir(_kernel) if not name.startswith("__")}


def test_clone3_is_a_fork(pipe: tuple[int, int]) -> None:
    pid, pidfd = _kernel.clone3(0, signal.SIGCHLD, -1)
    if pid == 0:
        address = ctypes.c_void_p()
        _kernel.prctl(PR_GET_TID_ADDRESS, ctypes.addressof(address))
        # Where libc keeps the thread's id, there is the child's, as after a fork.
        right = ctypes.c_int.from_address(address.value or 0).value == os.getpid()
        os.write(pipe[1], b"right" if right and pidfd == -1 else b"wrong")
        os._exit(7)
    assert not os.get_inheritable(pidfd)
    assert _kernel.poll([(pidfd, c.POLLIN)], 5000) == [(pidfd, c.POLLIN)]
    assert os.waitid(os.P_PIDFD, pidfd, os.WEXITED).si_status == 7  # type: ignore[union-attr]
    assert os.read(pipe[0], 10) == b"right"
    os.close(pidfd)


def test_aside_changes_only_our_memory(tmp_path: Path) -> None:
    seen: list[int] = []
    kept, here = os.open("/dev/null", os.O_RDONLY), os.getcwd()

    def work() -> str:
        seen.append(os.getpid())
        os.close(kept)
        os.chdir(tmp_path)
        return "done"

    assert _kernel.aside(work) == "done"
    assert seen and seen != [os.getpid()]
    assert os.getcwd() == here
    os.close(kept)
    with pytest.raises(ChildProcessError):
        os.waitpid(seen[0], 0)


def test_an_exception_aside_is_raised() -> None:
    def work() -> None:
        raise KeyError("the same")

    with pytest.raises(KeyError, match="the same"):
        _kernel.aside(work)


def test_killing_the_child_of_aside_kills_us() -> None:
    """The child has left our interpreter in the middle of something."""
    pid = os.fork()
    if pid == 0:
        try:
            _kernel.aside(lambda: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_spawn_prepares_and_then_executes(tmp_path: Path, pipe: tuple[int, int]) -> None:
    def prepare() -> None:
        os.chdir(tmp_path)
        os.dup2(pipe[1], 1)

    pid = _kernel.spawn(prepare, b"/bin/sh", (b"sh", b"-c", b'echo "$PWD $WORD"; exit 7'), (b"WORD=one",))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert os.read(pipe[0], 1000).decode() == f"{tmp_path} one\n"


def test_a_failed_spawn_leaves_no_child(tmp_path: Path) -> None:
    def refuse() -> None:
        raise KeyError("not ready")

    with pytest.raises(KeyError, match="not ready"):
        _kernel.spawn(refuse, b"/bin/true", (b"true",), ())
    with pytest.raises(FileNotFoundError):
        _kernel.spawn(lambda: None, os.fsencode(tmp_path / "nothing"), (b"nothing",), ())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_clone3_runs_the_fork_handlers() -> None:
    calls: list[str] = []
    os.register_at_fork(
        before=lambda: calls.append("before"),
        after_in_parent=lambda: calls.append("parent"),
        after_in_child=lambda: calls.append("child"),
    )
    pid, pidfd = _kernel.clone3(0, signal.SIGCHLD, -1)
    if pid == 0:
        os._exit(0 if calls == ["before", "child"] else 1)
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert calls == ["before", "parent"]


def test_clone3_says_why_not() -> None:
    with pytest.raises(OSError) as caught:
        _kernel.clone3(c.CLONE_NEWNS | 0x200, signal.SIGCHLD, -1)  # 0x200: CLONE_FS, which CLONE_NEWNS excludes
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError) as caught:
        _kernel.clone3(0, signal.SIGCHLD, 1_000_000)
    assert caught.value.errno == errno.EBADF


def test_pidfds() -> None:
    pidfd = _kernel.pidfd_open(os.getpid(), 0)
    _kernel.pidfd_send_signal(pidfd, 0)
    copy = _kernel.pidfd_getfd(pidfd, pidfd)
    assert os.path.sameopenfile(copy, pidfd)
    os.close(copy)
    os.close(pidfd)
    with pytest.raises(ProcessLookupError):
        _kernel.pidfd_open(2**22 + 1, 0)


def test_namespaces_and_their_kind() -> None:
    fd = os.open("/proc/self/ns/uts", os.O_RDONLY)
    assert _kernel.ns_type(fd) == c.CLONE_NEWUTS
    with pytest.raises(OSError) as caught:
        _kernel.setns(fd, c.CLONE_NEWNET)
    assert caught.value.errno == errno.EINVAL
    os.close(fd)
    with pytest.raises(OSError):
        _kernel.unshare(1)


def test_set_name_and_prctl() -> None:
    def named() -> bool:
        _kernel.set_name("a name")
        _kernel.prctl(c.PR_SET_DUMPABLE, 0)
        return Path("/proc/self/comm").read_text() == "a name\n" and _kernel.prctl(c.PR_GET_DUMPABLE) == 0

    assert in_child(named) == 0


def status_mask(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1], 16)


def test_capabilities() -> None:
    def dropped() -> bool:
        effective, permitted, _ = _kernel.capget()
        kept = permitted & (1 << c.CAP_CHOWN | 1 << c.CAP_CHECKPOINT_RESTORE)
        _kernel.capset(effective & kept, kept, 0)
        return _kernel.capget() == (effective & kept, kept, 0) and status_mask("CapPrm") == kept

    assert _kernel.capget() == (status_mask("CapEff"), status_mask("CapPrm"), status_mask("CapInh"))
    assert in_child(dropped) == 0
    with pytest.raises(PermissionError):
        _kernel.capset(2**64 - 1, 0, 0)  # more effective than permitted


def test_the_bounding_set() -> None:
    """What is refused is named, unless the set lacks it anyway."""
    dropped = 1 << c.CAP_CHOWN | 1 << c.CAP_CHECKPOINT_RESTORE

    def work() -> bool:
        before = status_mask("CapBnd")
        try:
            _kernel.drop_bounding(dropped)
        except PermissionError as error:  # not root
            return error.filename == c.CAP_CHOWN and status_mask("CapBnd") == before
        left = status_mask("CapBnd")
        _kernel.capset(0, 0, 0)
        _kernel.drop_bounding(dropped)
        try:
            _kernel.drop_bounding(dropped | 1 << c.CAP_SYS_ADMIN)
        except PermissionError as error:
            return error.filename == c.CAP_SYS_ADMIN and left == status_mask("CapBnd") == before & ~dropped
        return False

    assert in_child(work) == 0


def test_execve_limited() -> None:
    """The limits apply to the program, however low; a refusal is reported."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        limits = ((c.RLIMIT_NOFILE, 5, 6), (c.RLIMIT_DATA, 0, 2**64 - 1))
        arguments = (b"sh", b"-c", b'ulimit -Sn; ulimit -Hn; echo "$X"')
        try:
            _kernel.execve_limited(b"/bin/busybox", arguments, (b"X=a=b",), limits)
        finally:
            os._exit(9)
    os.close(writer)
    with open(reader) as said:
        assert said.read() == "5\n6\na=b\n"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with pytest.raises(FileNotFoundError):
        _kernel.execve_limited(b"/nonexistent", (b"x",), (), ())
    with pytest.raises(OSError, match="Invalid argument"):
        _kernel.execve_limited(b"/bin/busybox", (b"x",), (), ((99, 0, 0),))
    with pytest.raises(ValueError, match="null byte"):
        _kernel.execve_limited(b"/bin/busybox", (b"a\0b",), (), ())
    with pytest.raises(TypeError):
        _kernel.execve_limited(b"/bin/busybox", ("text",), (), ())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="more limits"):
        _kernel.execve_limited(b"/bin/busybox", (), (), ((0, 0, 0),) * 17)


def test_prlimit() -> None:
    def lowered() -> bool:
        old = _kernel.prlimit(0, c.RLIMIT_NOFILE, 64, 128)
        return old[0] > 64 and resource.getrlimit(resource.RLIMIT_NOFILE) == (64, 128)

    def unlimited() -> bool:
        _kernel.prlimit(0, c.RLIMIT_CORE, 0, _kernel.prlimit(0, c.RLIMIT_CORE, -1, -1)[1])
        return resource.getrlimit(resource.RLIMIT_CORE)[0] == 0

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    assert _kernel.prlimit(0, c.RLIMIT_AS, -1, -1) == (soft % 2**64, hard % 2**64)
    assert in_child(lowered) == 0
    assert in_child(unlimited) == 0
    with pytest.raises(ValueError, match="negative"):
        _kernel.prlimit(0, c.RLIMIT_AS, -1, 5)


def test_scheduling() -> None:
    def batch() -> bool:
        _kernel.sched_setattr(0, c.SCHED_BATCH, 0, 5, 0, 0, 0, 0)
        _kernel.ioprio_set(c.IOPRIO_WHO_PROCESS, 0, c.IOPRIO_CLASS_IDLE << c.IOPRIO_CLASS_SHIFT)
        return os.sched_getscheduler(0) == os.SCHED_BATCH and os.getpriority(os.PRIO_PROCESS, 0) == 5

    def bound() -> bool:
        _kernel.set_mempolicy(c.MPOL_BIND, [0])
        policies = Path("/proc/self/numa_maps").read_text().splitlines()
        _kernel.set_mempolicy(c.MPOL_DEFAULT, [])
        return all(line.split()[1] == "bind:0" for line in policies)

    assert in_child(batch) == 0
    if Path("/proc/self/numa_maps").exists():
        assert in_child(bound) == 0
    with pytest.raises(ValueError, match="memory node"):
        _kernel.set_mempolicy(c.MPOL_BIND, [100_000])


def test_personality() -> None:
    def changed() -> bool:
        return _kernel.personality(c.ADDR_NO_RANDOMIZE) == 0 and _kernel.personality(0xFFFFFFFF) == c.ADDR_NO_RANDOMIZE

    assert in_child(changed) == 0


def test_signals_are_reset() -> None:
    def reset() -> bool:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        blocked = status_mask("SigBlk")
        _kernel.reset_signals()
        return blocked.bit_count() >= 60 and not any(map(status_mask, ("SigBlk", "SigIgn", "SigCgt")))

    assert in_child(reset) == 0


@pytest.mark.skipif(RT_SIGACTION == 0, reason="the number of rt_sigaction is not known for this machine")
@pytest.mark.parametrize("number", [number for number in range(1, 65) if number not in (9, 19)])
def test_no_signal_stays_ignored(number: int) -> None:
    """Not even 32 and 33, which libc reserves, or 64: an ignored signal would stay ignored after the exec."""

    def reset() -> bool:
        # SIG_IGN is 1; sa_handler comes first in the kernel's struct sigaction of this machine.
        action = (1).to_bytes(8, "little") + bytes(24)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.syscall(ctypes.c_long(RT_SIGACTION), number, action, None, ctypes.c_size_t(8)) == 0
        assert status_mask("SigIgn") >> (number - 1) & 1
        _kernel.reset_signals()
        return status_mask("SigIgn") == 0

    assert in_child(reset) == 0


def test_exit_on_signal() -> None:
    child = os.fork()
    if child == 0:
        _kernel.exit_on_signal(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGTERM


def test_signalfd() -> None:
    def received() -> bool:
        fd = _kernel.signalfd([signal.SIGUSR1, signal.SIGCHLD])
        before = _kernel.read_signal(fd)
        os.kill(os.getpid(), signal.SIGUSR1)
        return before is None and _kernel.read_signal(fd) == (signal.SIGUSR1, os.getpid())

    assert in_child(received) == 0
    with pytest.raises(ValueError, match="out of range"):
        _kernel.signalfd([65])


def test_seccomp() -> None:
    def filtered() -> bool:
        _kernel.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
        allow = (0x06).to_bytes(2, "little") + b"\0\0" + c.SECCOMP_RET_ALLOW.to_bytes(4, "little")  # BPF_RET | BPF_K
        _kernel.seccomp_load(allow, 0)
        return "Seccomp:\t2\n" in Path("/proc/self/status").read_text()

    assert in_child(filtered) == 0
    with pytest.raises(ValueError, match="sock_filter"):
        _kernel.seccomp_load(b"short", 0)


@given(st.binary(max_size=300))
def test_sha256(data: bytes) -> None:
    assert _kernel.sha256(data) == hashlib.sha256(data).hexdigest()


def test_monotonic_ns() -> None:
    assert time.monotonic_ns() <= _kernel.monotonic_ns() <= time.monotonic_ns()


def test_new_descriptors_are_close_on_exec() -> None:
    fd = _kernel.pidfd_open(os.getpid(), 0)
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert stat.S_IFMT(os.fstat(fd).st_mode) in (0, stat.S_IFREG)
    os.close(fd)


@pytest.fixture
def successors() -> None:
    """Skips where there is no implementation, as in the build with sanitizers."""
    pid = os.fork()
    if pid == 0:
        try:
            _kernel.clone_successor()
            os.kill(os.getpid(), signal.SIGKILL)
        except OSError as error:
            os._exit(error.errno or 0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.ENOSYS:
        pytest.skip("this build has no clone_successor: init/successor.py forks")
    os.wait()


@pytest.mark.usefixtures("successors")
def test_a_successor_continues_in_the_place_and_in_the_memory_of_its_parent(pipe: tuple[int, int]) -> None:
    """Only the child returns. It is our child too, and knows its pid. The parent exits as soon as the child does."""
    reading, writing = pipe
    parent = os.fork()
    if parent == 0:
        try:
            before = os.getpid()
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            pid = _kernel.clone_successor()
            os.write(writing, f"{before} {pid} {os.getpid()} {os.getppid()}\n".encode())
            signal.sigwait([signal.SIGTERM])
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, closefd=False) as file:
        before, pid, own, over = map(int, file.readline().split())
    assert (before, pid, over) == (parent, own, os.getpid())
    assert pid != parent
    assert os.waitpid(parent, os.WNOHANG) == (0, 0), "it is suspended"
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0) == (pid, signal.SIGKILL)
    assert os.waitpid(parent, 0) == (parent, 0)


@pytest.mark.usefixtures("successors")
def test_a_parent_that_is_killed_leaves_its_successor_alone(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    parent = os.fork()
    if parent == 0:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            pid = _kernel.clone_successor()
            os.write(writing, f"{pid}\n".encode())
            signal.sigwait([signal.SIGTERM])
            os.write(writing, f"{sum(range(1000))}\n".encode())
        finally:
            os._exit(7)
    os.close(writing)
    with open(reading, closefd=False) as file:
        pid = int(file.readline())
        os.kill(parent, signal.SIGKILL)
        assert os.waitpid(parent, 0) == (parent, signal.SIGKILL)
        os.kill(pid, signal.SIGTERM)
        assert file.readline() == "499500\n"
    assert os.waitpid(pid, 0) == (pid, 7 << 8)


@pytest.mark.usefixtures("successors")
def test_a_successor_does_not_enter_a_new_time_namespace(pipe: tuple[int, int]) -> None:
    """So init/successor.py forks instead. Before Linux 6.2 the kernel refuses."""
    reading, writing = pipe
    pid = os.fork()
    if pid == 0:
        try:
            _kernel.unshare(c.CLONE_NEWUSER | c.CLONE_NEWTIME)
            try:
                _kernel.clone_successor()
                answer = os.readlink("/proc/self/ns/time")
            except OSError as error:
                answer = errno.errorcode[error.errno or 0]
            os.write(writing, answer.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, closefd=False) as file:
        assert file.read() in ("EINVAL", os.readlink("/proc/self/ns/time"))
    os.waitpid(pid, 0)

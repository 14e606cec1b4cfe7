"""Running hooks: for both lanes, and for start and delete.

A hook is someone else's program that runs with our privileges. It gets the state on standard input and its own
environment, runs in its own session and process group, and inherits no other descriptor. Its input and output are
files in memory, not pipes: a hook that does not read, closes its end, or leaves a child behind with its output
open, blocks nobody.
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.init.context import carries_out
from ocipy.init.seccomp import load_filter
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    CLONE_PIDFD,
    O_CLOEXEC,
    POLLIN,
    SIGCHLD,
    SIGKILL,
)
from ocipy.linux.memory import memory_file
from ocipy.plan.hooks import ContainerHook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from ocipy.init.context import Init

SHOWN_OUTPUT = 4096  # bytes at the end of a failing hook's output
# A hook's output stays in memory until the hook exits. Whenever it exceeds this size, it is discarded.
KEPT_OUTPUT = 16 * 1024 * 1024
HOOK_GLANCE_MS = 1000
MAX_FD = (1 << 32) - 1


class GivenUp(Error):
    """The hook was killed because something else made it pointless."""

    __slots__ = ()


@carries_out(ContainerHook)
def hook(init: Init, step: ContainerHook) -> None:
    """Run a createContainer or startContainer hook. filter: flags and optional for its seccomp filter. Raises Error.

    A createContainer hook is a program of the host: we look it up by the host's paths, and run it in the future
    container's root directory. Its environment is empty unless the config gives one: that of the process would let the
    image control a program of the host (CVE-2024-0132, CVE-2025-23266). A startContainer hook is a program of the
    container, and gets the container's environment.
    """
    state = dict(init.state)
    state["pid"] = posix.getpid()
    inside = step.kind == "startContainer"
    run_hook(
        step.kind, step.index, step.path, step.args, step.env, step.timeout, state,
        directory="" if inside else init.rootfs, default_env=init.environment if inside else {},
        filter=(init.seccomp_program, *step.filter) if step.filter else None, outputs=outputs_of(init.fds.outputs),
    )  # fmt: skip


def outputs_of(opened: Mapping[str, int]) -> tuple[int, int]:
    """Return the descriptors for the standard output and error of hooks, -1 for none. opened: Descriptors.outputs."""
    return opened.get("stdout", -1), opened.get("stderr", -1)


def run_hook(
    kind: str,
    index: int,
    path: str,
    args: Sequence[str] | None,
    env: Sequence[str] | None,
    timeout: int | None,
    state: dict[str, Any],
    *,
    directory: str | int,
    default_env: Mapping[bytes, bytes],
    give_up: Sequence[int] = (),
    filter: tuple[bytes, int, bool] | None = None,
    outputs: tuple[int, int] = (-1, -1),
) -> None:
    """Run one hook until it exits.

    state: its standard input. directory: where it runs, a path or a descriptor; "" for the current one.
    default_env: its environment if env is None. timeout: seconds after which it is killed, with its process group;
    None for no limit. give_up: descriptors; the hook is also killed once one is readable (-1 is ignored). filter:
    arguments of load_filter, called right before the exec. outputs: its standard output and error, -1 to capture it.
    Raises Error with the hook's pointer, and the end of its output as the hint; or GivenUp.
    """
    argv = [text.encode() for text in args] if args else [path.encode()]
    environment = dict(default_env) if env is None else parse_environment(env)
    stdin = memory_file("state", _kernel.json_dumps(state))
    output = memory_file("output", b"")
    reader, writer = posix.pipe2(O_CLOEXEC)
    pidfd = -1
    try:
        try:
            pid, pidfd = _kernel.clone3(CLONE_PIDFD, SIGCHLD, -1)
            if pid == 0:
                streams = (stdin, *(output if fd < 0 else fd for fd in outputs))
                _become_hook(path.encode(), argv, environment, directory, streams, writer, filter)
        finally:
            posix.close(writer)
        in_time, status = _end_of(pid, pidfd, output, timeout, give_up)
        problem = posix.read(reader, 64) if in_time else b""
        failure = _failure(kind, path, problem, in_time, timeout, status)
        if failure is not None:
            failure.hint = failure.hint or _last_of(output)
            raise failure
    except Error as error:
        error.pointer = f"/hooks/{kind}/{index}"
        raise
    finally:
        for fd in (stdin, output, reader, pidfd):
            if fd >= 0:
                posix.close(fd)


def parse_environment(env: Sequence[str]) -> dict[bytes, bytes]:
    """Parse NAME=VALUE strings. If a name occurs twice, the last one counts."""
    environment = {}
    for text in env:
        name, _, value = text.encode().partition(b"=")
        environment[name] = value
    return environment


def _become_hook(
    path: bytes,
    argv: list[bytes],
    environment: Mapping[bytes, bytes],
    directory: str | int,
    streams: Sequence[int],
    writer: int,
    filter: tuple[bytes, int, bool] | None,
) -> NoReturn:
    """Execute the hook, in the child. A failure is written to the pipe as stage and errno; the exec closes it."""
    stage = b"start"
    try:
        posix.setsid()
        stage = b"chdir"
        if directory != "":
            posix.chdir(directory)
        stage = b"start"
        for fd, stream in enumerate(streams):
            posix.dup2(stream, fd)
        if writer != 3:
            posix.dup2(writer, 3, False)
            writer = 3
        _kernel.close_range(4, MAX_FD, 0)
        # Init's umask of 0 is for making mounts and devices; a program does not expect it.
        umask = posix.umask(0o022)
        if umask:
            posix.umask(umask)
        _kernel.reset_signals()
        if filter is not None:
            stage = b"filter"
            load_filter(*filter)
        stage = b"exec"
        posix.execve(path, argv, environment)
    except OSError as error:
        posix.write(writer, b"%s %d" % (stage, error.errno or 0))
    finally:
        posix._exit(127)


def _end_of(pid: int, pidfd: int, output: int, timeout: int | None, give_up: Sequence[int]) -> tuple[bool, int]:
    """Return (whether it exited in time, its wait status). Kill it if it does not, or if we give up. Raises GivenUp."""
    in_time = False
    try:
        in_time = _wait(pidfd, output, timeout, give_up)
    finally:
        if not in_time:
            _kill(pid, pidfd)
        status = posix.waitpid(pid, 0)[1]
    return in_time, status


def _wait(pidfd: int, output: int, timeout: int | None, give_up: Sequence[int]) -> bool:
    """Wait for the exit; return False on timeout. Raises GivenUp."""
    watched = [(pidfd, POLLIN), *((fd, POLLIN) for fd in give_up)]
    deadline = None if timeout is None else _kernel.monotonic_ns() + timeout * 1_000_000_000
    while True:
        pause = HOOK_GLANCE_MS
        if deadline is not None:
            # Rounded up: a poll that returns too early would only be repeated.
            left = -((_kernel.monotonic_ns() - deadline) // 1_000_000)
            if left <= 0:
                return bool(_kernel.poll([(pidfd, POLLIN)], 0))
            pause = min(pause, left)
        ready = dict(_kernel.poll(watched, pause))
        if pidfd in ready:
            return True
        if ready:
            raise GivenUp("a hook was killed before it exited")
        # The blocks in use, of 512 bytes each: discarded output leaves a hole.
        if posix.stat(output).st_blocks * 512 > KEPT_OUTPUT:
            posix.ftruncate(output, 0)


def _kill(pid: int, pidfd: int) -> None:
    """Kill the hook and its process group, so that nothing it started keeps running."""
    try:
        posix.killpg(pid, SIGKILL)
    except OSError:
        pass  # it does not lead a process group yet
    _kernel.pidfd_send_signal(pidfd, SIGKILL)


def _failure(kind: str, path: str, problem: bytes, in_time: bool, timeout: int | None, status: int) -> Error | None:
    """Return what went wrong, or None."""
    name = f"the {kind} hook {path}"
    if not in_time:
        return Error(f"{name} was killed: it took longer than its timeout of {timeout} s")
    if problem:
        stage, _, number = problem.partition(b" ")
        if stage == b"chdir":
            return Error(f"cannot enter the working directory of {name}", errno=int(number))
        if stage == b"filter":
            return Error(f"cannot load the filter of linux.seccomp for {name}", errno=int(number))
        hint = ""
        if int(number) == errno.ENOENT:
            where = "in the container's files" if kind == "startContainer" else "among the host's files"
            hint = f"it, or the interpreter that it names, is not {where}"
        elif int(number) == errno.ENOEXEC:
            hint = "it is neither a program for this machine nor a script that begins with #!"
        return Error(f"cannot run {name}", errno=int(number), hint=hint)
    code = posix.waitstatus_to_exitcode(status)
    if code < 0:
        return Error(f"{name} was killed by signal {-code}")
    return Error(f"{name} failed with exit status {code}") if code else None


def _last_of(output: int) -> str:
    """Return the end of the hook's output."""
    size = posix.stat(output).st_size
    data = posix.pread(output, SHOWN_OUTPUT, max(0, size - SHOWN_OUTPUT)).lstrip(b"\0")
    text = data.decode("utf-8", "replace").strip()
    return "it said: " + text if text else ""

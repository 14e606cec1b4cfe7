"""The wait for start, and what follows it.

If no program runs between the wait and the exec, all of it is one function of the C extension (kernel/waiting.c), which
first frees nearly all memory: a created container may wait for a long time.
"""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.init.context import carries_out
from ocipy.init.fifo import AWAKE, EXECUTING, FILTERED, close_channel, leave_runtime, tell_waiting
from ocipy.init.lookup import quote, to_bytes
from ocipy.init.process import exec_refused
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN
from ocipy.plan.process import CloseDescriptors, Execute
from ocipy.plan.waiting import GoOn, LetGo, TellExecuting, WaitForStart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.init.context import Init
    from ocipy.plan.model import InitStep

WATCH_INTERVAL_MS = 10_000
# The steps after the wait that the C extension can take, in addition to init.seccomp_load.
LAST = (CloseDescriptors, TellExecuting, Execute)
# Names of the steps that can fail there, in its messages to `start`.
EXECUTE, SECCOMP_LOAD = "execute", "seccomp_load"


@carries_out(WaitForStart)
def wait_for_start(init: Init, step: WaitForStart) -> None:
    """Let create return, and block until start writes AWAKE to the FIFO.

    Exit on any other byte, or if create exits before it has recorded the container as created. watch: exit also when
    the FIFO is removed, since then nobody can start or delete the container any more. This is impossible under a filter
    that is already loaded, which may not permit more than read(2).
    """
    tell_waiting(init)
    _wait_for_word(init)
    close_channel(init)
    _execute(init, step, filtered=not step.watch)
    fifo, init.fds.fifo = init.fds.fifo, -1
    if step.watch:
        _watch(fifo)
    if posix.read(fifo, 1) != AWAKE:
        posix._exit(1)
    posix.close(fifo)
    init.report_fd, init.fds.report = init.fds.report, -1
    posix.write(init.report_fd, AWAKE)


@carries_out(GoOn)
def go_on(init: Init, step: GoOn) -> None:
    """Continue to the exec: the host has usually permitted that already. Exit if it has exited before."""
    _wait_for_word(init)
    leave_runtime(init)
    if init.seccomp_program:
        _execute(init, step, filtered=step.filtered)
    init.report_fd, init.fds.report = init.fds.report, -1


def _wait_for_word(init: Init) -> None:
    """Wait for the host's message by read(2): a filter in force may not permit recvmsg(2)."""
    if not posix.read(init.channel.fd, 64):
        posix._exit(1)


@carries_out(LetGo)
def let_go(init: Init, step: LetGo) -> None:
    """Let the runtime continue: it reads the pipe until the exec, which closes it, or until an error."""
    leave_runtime(init)
    init.report_fd, init.fds.report = init.fds.report, -1


def _execute(init: Init, step: InitStep, *, filtered: bool) -> None:
    """Carry out all remaining steps in C: the wait, if there is a FIFO, with almost no memory; and the exec, with few
    system calls, since a filter may be in force.

    Returns if C cannot take all of them, or if a filter that is in force may deny the mmap(2) that this needs.
    """
    last = load = None
    for last in _steps_after(init, step):
        if last is init.seccomp_load:
            load = init.seccomp_load
        elif not isinstance(last, LAST):
            return
    if not isinstance(last, Execute):
        return
    _kernel.wait_and_execute(
        init.fds.fifo,
        init.fds.report,
        3 + init.preserved,
        not filtered,
        init.command,
        tuple([to_bytes(argument) for argument in last.arguments]),
        tuple([name + b"=" + value for name, value in init.environment.items()]),
        init.limits,
        init.seccomp_program,
        filtered,
        load is not None,
        load.flags if load else 0,
        load.optional if load else False,
        _beginning(SECCOMP_LOAD, "", load.pointer if load else ""),
        _beginning(EXECUTE, quote(init.command), last.pointer),
    )


def _steps_after(init: Init, step: InitStep) -> Sequence[InitStep]:
    position = len(init.steps)
    while position:
        position -= 1
        if init.steps[position] is step:
            return init.steps[position + 1 :]
    return ()


def _beginning(step: str, what: str, pointer: str) -> bytes:
    """Return an error message up to its errno, which C appends. `failure` reads the result."""
    return _kernel.json_dumps({"step": step, "what": what, "pointer": pointer})[:-1] + b',"errno":'


def failure(message: dict[str, object]) -> Error:
    """Return the Error in a message from exec.report. The sender is not trusted. Never raises."""
    error = Error.from_message(message)
    step = message.get("step")
    if step == EXECUTE:
        full = exec_refused(error.what, error.errno)
    elif step == SECCOMP_LOAD:
        from ocipy.init.seccomp import load_refused

        full = load_refused(error.errno)
    else:
        return error
    full.pointer = error.pointer
    return full


def _watch(fifo: int) -> None:
    """Wait until something is written to the FIFO; exit if it is removed."""
    try:
        while not _kernel.poll([(fifo, POLLIN)], WATCH_INTERVAL_MS):
            if posix.fstat(fifo).st_nlink == 0:
                posix._exit(1)
    except OSError:
        pass  # the read that follows waits too


@carries_out(TellExecuting)
def tell_executing(init: Init, step: TellExecuting) -> None:
    """Announce that execve comes next."""
    posix.write(init.report_fd, EXECUTING + FILTERED if init.seccomp_program else EXECUTING)

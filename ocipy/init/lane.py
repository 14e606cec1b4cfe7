"""The init lane: from the clone to the exec, step by step.

load_modules imports every module that a plan needs before the clone. After become_init nothing is imported. An action
may raise Error or OSError: become_init adds the step's pointer to either, and reports it to the host.
"""

from __future__ import annotations

import posix
import sys

from ocipy.errors import Error, refused
from ocipy.init.context import ACTIONS, carries_out
from ocipy.init.fifo import INIT_NAME
from ocipy.init.process import close_all_but
from ocipy.linux import _kernel, procfs
from ocipy.linux.channel import Closed
from ocipy.linux.constants import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, SIGKILL
from ocipy.plan.lane import TakeProcfs, TellHost, Undumpable, WaitForHost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from typing import Any, NoReturn

    from ocipy.init.context import Init
    from ocipy.plan.model import Plan, Step


@carries_out(TellHost)
def tell(init: Init, step: TellHost) -> None:
    """Let the host lane, which waits at this barrier, continue."""
    init.channel.send(step.barrier)


@carries_out(WaitForHost)
def wait(init: Init, step: WaitForHost) -> None:
    """Wait until the host lane reaches this barrier. Exit if the runtime has exited: nobody is left to report to."""
    try:
        received, _, _ = init.channel.receive()
    except Closed:
        posix._exit(1)
    if received != step.barrier:
        raise Error(f"the runtime sent {received} instead of {step.barrier}")


@carries_out(TakeProcfs)
def take_procfs(init: Init, step: TakeProcfs) -> None:
    """Take the procfs descriptor that the host sends."""
    use_procfs(init, take_descriptor(init, "procfs"))


def take_descriptor(init: Init, kind: str) -> int:
    """Wait for a message of this kind; return its descriptor. Exit if the runtime has exited. Raises Error."""
    try:
        received, _, fds = init.channel.receive(max_fds=1)
    except Closed:
        posix._exit(1)
    if received != kind or not fds:
        raise Error(f"the runtime sent {received} instead of {kind}")
    return fds[0]


def use_procfs(init: Init, fd: int) -> None:
    """Keep our own directory in a procfs. fd: that directory, or the procfs's root, which is closed."""
    if procfs.is_root(fd):
        init.proc = procfs.open_own(fd)
        posix.close(fd)
    else:
        init.proc = fd


@carries_out(Undumpable)
def undumpable(init: Init, step: Undumpable) -> None:
    """Forbid core dumps, ptrace, and access to our /proc/PID/exe, fd and mem from our namespaces (CVE-2016-9962).

    This must follow the id maps, which can only be written while we are dumpable (proc(5)).
    """
    _kernel.prctl(PR_SET_DUMPABLE, 0)


def load_modules(steps: Sequence[Step], package: str, actions: Container[type[Step]]) -> None:
    """Import only the modules that carry out these steps: imports dominate the cost of a start.

    For example, init/uts.py carries out the kinds of steps in plan/uts.py. actions: those known so far, by kind.
    """
    for kind in dict.fromkeys(map(type, steps)):
        if kind not in actions:
            __import__(package + kind.__module__.removeprefix("ocipy.plan"))


def become_init(plan: Plan, init: Init) -> NoReturn:
    """Carry out the init lane. Ends in execve or _exit."""
    step = None
    try:
        # If create is killed, we die too. If it was killed before this call, the channel shows that.
        _kernel.prctl(PR_SET_PDEATHSIG, SIGKILL)
        _kernel.set_name(INIT_NAME)
        close_others(init)
        seal_imports()
        if _kernel.poll([(init.channel.fd, 0)], 0):
            posix._exit(1)
        if init.fds.procfs >= 0:
            use_procfs(init, init.fds.procfs)
            init.fds.procfs = -1
        init.steps = plan.init if init.onlooker is None else ()
        for step in plan.init if init.onlooker is None else init.onlooker.init_lane(plan.init):
            ACTIONS[type(step)](init, step)
    except BaseException as error:
        name, pointer = ("become_init", "") if step is None else (step.title, step.pointer)
        report(init, error, name, pointer)
    posix._exit(1)


def close_others(init: Init) -> None:
    """Close everything except the standard streams, the payload's descriptors and our own."""
    close_all_but(3 + init.preserved, [init.channel.fd, *init.fds.all()])


def _no_import(name: str, *_arguments: Any) -> NoReturn:
    raise Error(f"internal error: import of {name} inside the container")


def seal_imports() -> None:
    """Remove the import machinery: from here on it would find the container's files (CVE-2019-14271)."""
    for name in ("path", "meta_path", "path_hooks", "path_importer_cache"):
        finder = getattr(sys, name, None)  # some do not exist yet in the core phase
        if finder is not None:
            finder.clear()
    sys.modules["builtins"].__dict__["__import__"] = _no_import


def report(init: Init, error: BaseException, step: str, pointer: str) -> NoReturn:
    """Report a step's error to create, or to start once that has been called, and exit."""
    if isinstance(error, Error):
        failure = error
        failure.pointer = failure.pointer or pointer
    elif isinstance(error, OSError):
        failure = refused(error, step, pointer)
    else:
        failure = Error(f"internal error: {step}: {type(error).__name__}: {error}", pointer=pointer)
    try:
        if init.report_fd >= 0:
            posix.write(init.report_fd, _kernel.json_dumps(failure.to_message()))
        else:
            init.channel.send("error", failure.to_message())
    except (OSError, Error):
        pass
    posix._exit(1)

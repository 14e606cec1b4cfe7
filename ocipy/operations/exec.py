"""exec: start a process in a running container, up to the moment when it runs its command, or undo that."""

from __future__ import annotations

import errno
import posix
import time

from ocipy import log
from ocipy.children.interrupts import catch
from ocipy.errors import Error, caused_by, reported_as
from ocipy.host.console import check_socket
from ocipy.host.context import HostRun
from ocipy.host.lane import carry_out
from ocipy.host.machine import describe_host
from ocipy.init.exec import FILES
from ocipy.linux import _kernel
from ocipy.linux.constants import SIGKILL
from ocipy.linux.files import read_file, unlink
from ocipy.operations.kill import NotRunning, open_init
from ocipy.phases import EXEC, phase
from ocipy.plan.exec import Target, build, sub_cgroups
from ocipy.plan.exec_process import Changes, process_to_execute
from ocipy.plan.model import Options
from ocipy.state.state import CONFIG_FILE, State, load, process_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocipy.config.types import Config, Process
    from ocipy.plan.model import Plan

# A process that is killed in a frozen v1 cgroup dies only when that is thawed: do not wait for it.
KILL_PATIENCE = 1.0  # seconds


def execute(
    root: str,
    container_id: str,
    changes: Changes,
    *,
    process_file: str = "",
    cgroups: Sequence[str] = (),
    console_socket: str = "",
    detach: bool = False,
    ignore_paused: bool = False,
    pid_file: str = "",
    pidfd_socket: str = "",
    preserve_fds: int = 0,
    rootless: bool | None = None,
) -> HostRun:
    """Execute a process in a container; returns once its execve(2) has succeeded.

    process_file: a process object (config.md) that replaces the container's own. detach: nobody stays to hold its
    terminal. Raises Error and leaves nothing behind, even if a signal interrupts it (children/interrupts.py).
    """
    state = load(root, container_id)
    given = _read_process(process_file) if process_file else None
    container = _open_container(state, ignore_paused)
    try:
        run = _planned(state, changes, given, cgroups, has_console=bool(console_socket) or not detach,
                       preserve_fds=preserve_fds, rootless=rootless, pid_file=pid_file,
                       pidfd_socket=pidfd_socket)  # fmt: skip
        for pointer, text in run.plan.warnings:
            log.warning(f"{pointer}: {text}")
        check_socket(bool(run.config["process"].get("terminal")), console_socket)
        run.console_socket = console_socket
        run.interrupts = catch()
    except BaseException:
        posix.close(container)
        raise
    run.fds.container = container
    try:
        with phase(EXEC):
            carry_out(run)
    except BaseException:
        with phase("undo"):
            undo(run)
        if pid_file:
            unlink(pid_file)
        raise
    return run


def _open_container(state: State, ignore_paused: bool) -> int:
    """A pidfd of the container's process. Raises Error if nothing can be executed there."""
    try:
        container = open_init(state)
    except NotRunning:
        container = -1
    try:
        status = state.status(alive=container >= 0)
        if status == "stopped":
            raise Error("cannot exec in a stopped container")
        if status == "creating":
            raise Error("cannot exec in a container that is being created")
        if status == "paused" and not ignore_paused:
            raise Error("cannot exec in a paused container (use --ignore-paused to override)")
    except BaseException:
        if container >= 0:
            posix.close(container)
        raise
    return container


def plan_exec(root: str, container_id: str, changes: Changes, *, ignore_paused: bool, rootless: bool | None) -> Plan:
    """What execute would do, staying with the process. Raises Error as that does."""
    state = load(root, container_id)
    posix.close(_open_container(state, ignore_paused))
    return _planned(state, changes, None, (), has_console=True, preserve_fds=0, rootless=rootless, pid_file="",
                    pidfd_socket="").plan  # fmt: skip


def _planned(
    state: State,
    changes: Changes,
    given: Process | None,
    cgroups: Sequence[str],
    *,
    has_console: bool,
    preserve_fds: int,
    rootless: bool | None,
    pid_file: str,
    pidfd_socket: str,
) -> HostRun:
    saved = _saved_config(state)
    with phase("put the process together"):
        config: Config = {**saved, "process": process_to_execute(saved, given, changes)}
    options = Options(
        container_id=state.container_id,
        bundle=state.bundle,
        state_directory=state.directory,
        preserve_fds=preserve_fds,
        no_new_keyring=state.no_new_keyring,
        has_console=has_console,
        pid_file=pid_file,
        pidfd_socket=pidfd_socket,
    )
    paths = state.cgroup["paths"] if state.cgroup is not None else {}
    target = Target(kinds=_foreign_kinds(state), cgroups=sub_cgroups(paths, cgroups), chosen=bool(cgroups))
    with phase("probe the host"):
        host = describe_host(rootless, config)
    with phase("plan"):
        plan = build(config, host, options, target)
    own = saved.get("process")
    if own is not None and config["process"].get("capabilities") == own.get("capabilities"):
        plan.warnings.clear()  # create has warned about the container's own capabilities
    run = HostRun(config, options, plan, state)
    run.name = "the process"
    run.status = "running"
    return run


def _saved_config(state: State) -> Config:
    """The config.json that create checked and saved: later changes of the bundle have no effect."""
    path = state.directory + "/" + CONFIG_FILE
    with reported_as("cannot read the saved configuration", pointer=path):
        data = read_file(path)
    try:
        return _kernel.json_loads(data)  # type: ignore[no-any-return]
    except ValueError:
        raise Error("the saved configuration is not readable", pointer=path) from None


def _read_process(path: str) -> Any:
    """The process object of a file, checked in full."""
    from ocipy.operations.exec_file import read_process

    return read_process(path)


def _foreign_kinds(state: State) -> list[str]:
    """The kinds of namespaces that the container's process does not share with us. Raises Error.

    A namespace that we cannot inspect counts as different.
    """
    kinds = []
    for kind, name in FILES.items():
        try:
            ours = posix.readlink(f"/proc/self/ns/{name}")  # its kind and inode, in half the time of a stat
        except FileNotFoundError:  # this kernel has no such namespaces
            continue
        try:
            theirs = posix.readlink(f"/proc/{state.pid}/ns/{name}")
        except OSError as error:
            if not state.is_alive():
                raise Error("container not running", hint="its process has just ended") from None
            if error.errno == errno.ENOENT and process_start(state.pid) >= 0:
                # A thread that has ended is in no namespace, so its process's pidfd cannot be used to join (setns(2)).
                raise Error("cannot exec: the main thread of the container's process has ended") from None
            hint = "a user can only enter that user's containers, and only after they have started"
            raise caused_by(error, "cannot look at the namespaces of the container's process", hint=hint) from None
        if theirs != ours:
            kinds.append(kind)
    return kinds


def undo(run: HostRun) -> None:
    """Kill the process and the joiner that forks it, and reap both."""
    # This comes first: a process whose parent died before it told us of it ends when the channel closes.
    run.let_go()
    if run.report >= 0:
        posix.close(run.report)
        run.report = -1
    if run.pidfd >= 0:
        try:
            _kernel.pidfd_send_signal(run.pidfd, SIGKILL)
        except ProcessLookupError:
            pass
    if run.stage > 0:
        from ocipy.host.held_up import end_successor

        end_successor(run.stage)
    _reap()


def _reap() -> None:
    """Wait until our children have ended, and reap them."""
    deadline = time.monotonic() + KILL_PATIENCE
    try:
        while time.monotonic() < deadline:
            if not posix.waitpid(-1, posix.WNOHANG)[0]:
                time.sleep(0.001)
    except ChildProcessError:
        pass

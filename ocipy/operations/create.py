"""create: carry out the plan of a bundle up to the point where init waits, or undo it (spec: runtime.md, Create).

restore (operations/restore.py) does the same with another plan.
"""

from __future__ import annotations

import posix
import time

from ocipy import log
from ocipy.children.interrupts import catch
from ocipy.errors import Error, caused_by
from ocipy.host.console import check_socket
from ocipy.host.context import HostRun
from ocipy.host.lane import carry_out
from ocipy.host.machine import describe_host
from ocipy.linux import _kernel
from ocipy.linux.constants import SIGKILL, WCLONE
from ocipy.linux.files import unlink
from ocipy.operations import bundle
from ocipy.operations.delete import release_root, remove_cgroup, run_poststop
from ocipy.operations.kill import end_process
from ocipy.phases import EXEC, phase
from ocipy.plan.build import build
from ocipy.plan.fields import Namespaces
from ocipy.plan.waiting import Running
from ocipy.state.directory import check_id, make_directory, remove_directory
from ocipy.state.state import State, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.config.types import Config
    from ocipy.plan.model import Options

REAP_PATIENCE = 1.0  # seconds


def create(
    root: str,
    options: Options,
    *,
    console_socket: str = "",
    rootless: bool | None = None,
    in_foreground: bool = False,
) -> tuple[HostRun, int]:
    """Carry out the plan of a bundle up to the point where init waits at the FIFO, or with options.starts perhaps
    further, until it has executed: then the run's status is "running".

    options.bundle may be relative; it becomes absolute. Returns the run and the lock of the container, which the caller
    closes. Raises Error and leaves nothing behind, even if a signal interrupts it (children/interrupts.py).

    in_foreground: a person is watching, and is warned about misspelt members of the config. Engines may add their own
    members, so they get these warnings only with --debug. And the connection to systemd stays open.
    """
    misspelt: list[tuple[str, str]] | None = [] if in_foreground or log.is_debug() else None
    connection = None
    if options.systemd_cgroup:
        from ocipy.host.systemd import greet

        connection = greet()
    try:
        config = read_bundle(root, options, misspelt)
        if connection is not None:
            connection.ask_ahead()
        run = _planned(config, options, rootless, misspelt or (), in_foreground=in_foreground)
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    run.bus = connection
    lock_fd = make_container(run, root, console_socket=console_socket)
    if not in_foreground:
        run.hang_up()
    return run, lock_fd


def _planned(
    config: Config,
    options: Options,
    rootless: bool | None,
    misspelt: Sequence[tuple[str, str]],
    *,
    in_foreground: bool,
) -> HostRun:
    """The run for a config that has been read. Raises Error."""
    options.notify_socket = bool(posix.environ.get(b"NOTIFY_SOCKET"))
    with phase("probe the host"):
        host = describe_host(rootless, config)
    with phase("plan"):
        plan = build(config, host, options)
    for pointer, text in misspelt:
        (log.warning if in_foreground else log.debug)(f"{pointer}: {text}")
    return HostRun(config, options, plan, new_state(options, config))


def read_bundle(root: str, options: Options, misspelt: list[tuple[str, str]] | None = None) -> Config:
    """The checked config that the options name. Makes their paths absolute. misspelt: see bundle.read. Raises Error."""
    check_id(options.container_id)
    options.bundle, config = bundle.read(options.bundle, options.config, misspelt)
    options.state_directory = root + "/" + options.container_id
    return config


def new_state(options: Options, config: Config) -> State:
    """The state of a container before it is made."""
    state = State(options.state_directory, options.container_id, options.bundle)
    state.rootfs = bundle.root_path(options.bundle, config)
    state.created = now()
    state.no_new_keyring = options.no_new_keyring
    state.shares_pids = "pid" not in Namespaces(config).new
    state.annotations = config.get("annotations") or {}
    return state


def make_container(run: HostRun, root: str, *, console_socket: str) -> int:
    """Make a container from a plan, that of create or that of restore, or undo everything.

    Returns the lock of the container, which the caller closes. Raises Error.
    """
    config, options, plan = run.config, run.options, run.plan
    process = config.get("process")
    check_socket(process is not None and bool(process.get("terminal")), console_socket)
    run.console_socket = console_socket
    for pointer, text in plan.warnings:
        log.warning(f"{pointer}: {text}")
    if options.pid_file:
        from ocipy.host.pid_file import check_pid_file

        check_pid_file(options.pid_file)
    # A caller's mask that clears the owner's bits would lock us out of the files that we make.
    posix.umask(posix.umask(0o077) & 0o077)
    run.interrupts = catch()
    with phase("make the state directory"):
        lock_fd = make_directory(root, options.container_id)
    if options.pid_file:
        # An engine takes any pid file for success, even an old one.
        unlink(options.pid_file)
    try:
        with phase(EXEC if isinstance(plan.host[-1], Running) else "carry out the plan"):
            carry_out(run)
        if run.lender is not None:
            run.lender.close()
        if options.systemd_cgroup or run.criu is not None:
            _reap_hurrying()
    except BaseException as error:
        with phase("undo"):
            undo(run)
        if options.pid_file:
            unlink(options.pid_file)
        posix.close(lock_fd)
        if isinstance(error, OSError):
            raise caused_by(error, "cannot write the state", pointer=options.state_directory) from None
        raise
    return lock_fd


def _reap_hurrying() -> None:
    """Reap the child of launcher/hurry.c, which has ended by now."""
    try:
        posix.waitpid(-1, WCLONE)
    except ChildProcessError:  # there was none
        pass


def undo(run: HostRun) -> None:
    """Undo everything that a failed create or restore did.

    If that fails, the state stays, so that `delete --force` can try again.
    """
    try:
        _end_init(run)
        remove_cgroup(run.cgroup)
        if run.rdt_made:
            from ocipy.host.intel_rdt import remove_groups

            remove_groups(run.rdt_made)
        release_root(run.state)
        if run.hooks_ran:
            run_poststop(run.state)
        remove_directory(run.state.directory)
    except (Error, OSError) as problem:
        log.warning(f"{problem}; remove the leftovers with: ocipy delete --force {run.state.container_id}")


def _end_init(run: HostRun) -> None:
    """Kill the init process and reap it. Raises Error if it does not die.

    If its stage made it but died before it told us, init waits for a message from us: it ends when the channel closes.
    """
    # This comes first: the rest may fail too.
    if run.pidfd >= 0:
        try:
            _kernel.pidfd_send_signal(run.pidfd, SIGKILL)
        except ProcessLookupError:
            pass
    # Undoing needs descriptors, and a lack of them may be what has failed.
    run.let_go()
    if run.stage > 0:
        from ocipy.host.held_up import end_successor

        end_successor(run.stage)
    run.hang_up()
    if run.interrupts >= 0:
        posix.close(run.interrupts)
        run.interrupts = -1
    if run.criu is not None:
        run.criu.session.end()
        run.criu = None
    if run.pidfd >= 0:
        end_process(run.pidfd, run.cgroup)
        _reap(run.pid)
    if run.lender is not None:
        from ocipy.host.namespace_contents import take_back

        take_back(run.lender)
        run.lender = None


def _reap(pid: int) -> None:
    """Reap a child that has ended. If it is traced, that succeeds only when the tracer lets it (ptrace(2))."""
    deadline = time.monotonic() + REAP_PATIENCE
    try:
        while not posix.waitpid(pid, posix.WNOHANG)[0] and time.monotonic() < deadline:
            time.sleep(0.001)
    except ChildProcessError:  # reaped already, to see how it ended
        pass

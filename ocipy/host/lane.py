"""The host lane: what the runtime does on the host, step by step.

An action may raise Error or OSError: carry_out adds the step's pointer to either.
"""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.children import interrupts
from ocipy.errors import Error, refused
from ocipy.host.context import ACTIONS, carries_out
from ocipy.host.report import GLANCE_MS
from ocipy.init.context import ACTIONS as INIT_ACTIONS
from ocipy.init.lane import load_modules
from ocipy.linux import _kernel, procfs
from ocipy.linux.channel import Closed
from ocipy.linux.constants import (
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    POLLIN,
    SIGKILL,
)
from ocipy.linux.files import write_file
from ocipy.phases import is_timed, phase
from ocipy.plan.lane import Adopt, GiveProcfs, PassProcfs, PrivateProcfs, SaveConfig, SaveState, TellInit, WaitForInit
from ocipy.state.state import (
    CONFIG_FILE,
    executable_of,
    is_our_child,
    own_streams,
    pidfd_inode_of,
    process_start,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun
    from ocipy.linux.channel import Channel
    from ocipy.plan.model import Step


LONGEST_NAME = 64  # of a terminal: "/dev/pts/N"
# How long to wait for the exit of an init that has closed the channel.
DEAD_INIT_PATIENCE_MS = 2000


@carries_out(PrivateProcfs)
def private_procfs(run: HostRun, step: PrivateProcfs) -> None:
    """Make our own procfs before anything is mounted for the container (CVE-2025-52881)."""
    run.fds.procfs = procfs.open_private(subset_pid=True)
    if step.sysctl:
        # A procfs with /proc/sys is dangerous to leak: init closes it after the last sysctl.
        run.fds.sysctl = procfs.open_private(subset_pid=False)


@carries_out(PassProcfs)
def pass_procfs(run: HostRun, step: PassProcfs) -> None:
    """Send init the procfs. Ours stays open until init has closed its own: the last close waits for a grace period."""
    channel_of(run).send("procfs", fd=run.fds.procfs)


@carries_out(GiveProcfs)
def give_procfs(run: HostRun, step: GiveProcfs) -> None:
    """Send a process that has joined a pid namespace its own directory in /proc, and no more.

    Other processes in that namespace may inspect its descriptors (CVE-2016-9962), and a whole procfs of our pid
    namespace leads to the host's root. whole: if the directory cannot be cloned (no CAP_SYS_ADMIN), send all of /proc,
    since in that case no process in there can inspect this one.
    """
    try:
        fd = procfs.clone_of(run.pid)
    except OSError:
        if not step.whole:
            raise
        fd = posix.open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)
    run.sent_procfs = fd  # let_go closes it: if init's close were the last one, init would wait for a grace period
    channel_of(run).send("procfs", fd=fd)


@carries_out(Adopt)
def adopt(run: HostRun, step: Adopt) -> None:
    """Learn the pid of the init process from the stage before it, and reap the stage.

    Accept only our own child (the stage forks it with CLONE_PARENT): later steps change the limits of this process, and
    kill it if something fails.
    """
    pid = wait_for(run, "pid").get("pid")
    if run.stage:
        if not isinstance(pid, int) or not 0 < pid < 1 << 31 or pid == run.stage or not is_our_child(pid):
            raise Error("the init process sent a malformed message")
        pidfd = _kernel.pidfd_open(pid, 0)
        # The stage has nothing left to do. Kill it: a process that has stopped it must not hold us up.
        try:
            _kernel.pidfd_send_signal(run.pidfd, SIGKILL)
        except ProcessLookupError:
            pass
        posix.waitpid(run.stage, 0)
        posix.close(run.pidfd)
        run.pid, run.pidfd, run.stage = pid, pidfd, 0


@carries_out(SaveState)
def save_state(run: HostRun, step: SaveState) -> None:
    """Write the pid of init to the state, so that delete finds init if create is killed afterwards."""
    if not run.state.executable:
        run.state.executable = executable_of("self")
        run.state.streams = own_streams()
    record_process(run)


def record_process(run: HostRun) -> None:
    """Write the pid of the container's process to the state. Raises Error."""
    run.state.pid = run.pid
    run.state.start_time = process_start(run.pid)
    run.state.pidfd_inode = pidfd_inode_of(run.pidfd)
    run.state.cgroup = run.cgroup.to_state() if run.cgroup is not None else None
    run.state.save()


@carries_out(SaveConfig)
def save_config(run: HostRun, step: SaveConfig) -> None:
    """Copy the config: later changes of the bundle have no effect."""
    write_file(run.state.directory + "/" + CONFIG_FILE, _kernel.json_dumps(run.config))


@carries_out(TellInit)
def tell(run: HostRun, step: TellInit) -> None:
    """Let the init lane, which waits at this barrier, continue. hooks: it runs hooks next."""
    if step.hooks:
        run.hooks_ran = True
    channel_of(run).send(step.barrier)


@carries_out(WaitForInit)
def wait(run: HostRun, step: WaitForInit) -> None:
    """Wait until the init lane reaches this barrier."""
    if step.barrier == "waiting":
        run.fds.close_procfs()  # now there is time, and the rest needs none
    wait_for(run, step.barrier)


def wait_for(run: HostRun, barrier: str) -> dict[str, object]:
    """Read init's messages until this one arrives, and return its content.

    Raises Error if init reports a failure, if a signal interrupts us, or if other processes keep stopping init.
    """
    stopped = 0
    while True:
        channel = channel_of(run)
        ready = dict(_kernel.poll([(channel.fd, POLLIN), (run.interrupts, POLLIN), (run.pidfd, POLLIN)], GLANCE_MS))
        if not ready:
            from ocipy.host.held_up import glance

            stopped = glance(run.name, run.pid, run.pidfd, stopped, is_stage=run.stage > 0)
            continue
        # Only if no message is waiting: after its last one init goes on alone, and in exec may already run the command.
        if channel.fd not in ready:
            interrupts.check_interrupts(run.interrupts)
            if not _kernel.poll([(channel.fd, POLLIN)], 0):
                # Do not wait for end of file: if a stage was killed after its fork, its child keeps the channel open.
                raise Closed("the other process has exited")
        kind, body, fds = channel.receive(max_fds=1)
        if kind == "console" and len(fds) == 1 and run.master < 0 and posix.isatty(fds[0]):
            run.master = fds[0]
            run.master_name = str(body.get("name"))[:LONGEST_NAME]
            continue
        for fd in fds:
            posix.close(fd)
        if kind == barrier:
            return body
        if kind == "error":
            raise Error.from_message(body)
        if kind != "warning":
            raise Error(f"the init process sent {kind[:40]!r} instead of {barrier}")
        log.warning(str(body.get("text"))[:4096])


def channel_of(run: HostRun) -> Channel:
    """Return the channel to init. Raises Error before the clone, which makes it."""
    if run.channel is None:
        raise Error("internal error: the init process has not been cloned yet")
    return run.channel


def carry_out(run: HostRun) -> None:
    """Carry out the host lane. Raises Error with the pointer of the step that failed; the caller undoes the steps."""
    with phase("import the steps' modules"):
        load_modules(run.plan.host, "ocipy.host", ACTIONS)
        load_modules(run.plan.init, "ocipy.init", INIT_ACTIONS)
    if is_timed():
        from ocipy.tracing.trace import running

        run.onlooker = running()
    if log.is_debug():
        from ocipy.tracing.debug import Narrator

        run.onlooker = Narrator(run.onlooker)
    step = None
    onlooker = run.onlooker
    try:
        for step in run.plan.host if onlooker is None else onlooker.host_lane(run):
            ACTIONS[type(step)](run, step)
    except Closed:
        raise _end_of_init(run, step) from None
    except OSError as error:
        raise _error_of_init(run, error, step) from None
    except Error as error:
        if not error.pointer and step is not None:
            error.pointer = step.pointer
        raise


def _last_word(run: HostRun) -> Error | None:
    """Return the error that init has sent, if any: it probably caused ours. Raises OSError if it cannot be read."""
    if run.channel is None:
        return None
    try:
        while _kernel.poll([(run.channel.fd, POLLIN)], 0):
            kind, body, fds = run.channel.receive(max_fds=1)
            for fd in fds:
                posix.close(fd)
            if kind == "error":
                return Error.from_message(body)
    except Error:  # end of file, or a malformed message
        pass
    return None


def _error_of_init(run: HostRun, error: OSError, step: Step | None) -> Error:
    """Return the error that init has sent, or else our own: the kernel refused this step."""
    name, pointer = ("carry_out", "") if step is None else (step.title, step.pointer)
    try:
        word = _last_word(run)
    except OSError:
        word = None
    return word or refused(error, name, pointer)


def _end_of_init(run: HostRun, step: Step | None) -> Error:
    """Return why init is gone: the error that it sent, or else how it exited. step: where the host lane noticed."""
    try:
        word = _last_word(run)
    except OSError as error:  # init's error is lost: report ours
        return _error_of_init(run, error, step)
    if word is not None:
        return word
    if not _kernel.poll([(run.pidfd, POLLIN)], DEAD_INIT_PATIENCE_MS):
        return Error(f"{run.name} has closed the channel")
    status = posix.waitid(posix.P_PID, run.pid, posix.WEXITED | posix.WNOWAIT)
    assert status is not None
    if status.si_code == posix.CLD_EXITED:
        if run.stage > 0 and status.si_status == 0:
            # It was suspended until the end of its child, which has not reported an error (init/successor.py).
            return Error(f"{run.name} was killed")
        return Error(f"{run.name} exited with status {status.si_status}")
    if status.si_status == SIGKILL and run.cgroup is not None and run.cgroup.oom_kills() > 0:
        if run.status == "running":
            # The OOM killer may have killed other processes of the container.
            return Error(f"{run.name} was killed (possibly OOM-killed)", pointer="/linux/resources/memory/limit")
        return Error(
            "container init was OOM-killed (memory limit too low?)",
            pointer="/linux/resources/memory/limit",
            hint="the limit must leave some memory for setting up the container",
        )
    hint = ""
    if run.fds.seccomp >= 0:
        hint = "linux.seccomp may forbid a system call that the setup still needs: docs/seccomp.md, When it is loaded"
    return Error(f"{run.name} was killed by signal {status.si_status}", hint=hint)

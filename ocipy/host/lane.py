"""The host lane: what the process on the host does for create, step by step.

Each action may raise Error or OSError; both get the pointer of their step.
"""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.children import interrupts
from ocipy.errors import Error, refused
from ocipy.host.report import GLANCE_MS
from ocipy.init.lane import load
from ocipy.linux import _kernel, procfs
from ocipy.linux.channel import Closed
from ocipy.linux.constants import (
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    O_RDWR,
    POLLIN,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    SIGKILL,
)
from ocipy.linux.files import write_file
from ocipy.phases import is_timed, phase
from ocipy.state.state import FIFO, FIFO_NEW, REPORT, pidfd_inode_of, process_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.host.context import HostRun
    from ocipy.linux.channel import Channel
    from ocipy.plan.model import Step


LONGEST_NAME = 64  # of a terminal: "/dev/pts/N"
# An init that has closed the channel is about to exit.
DEAD_INIT_PATIENCE_MS = 2000


def fifo(run: HostRun) -> None:
    """Make the FIFO at which init waits, and the one by which start learns how the exec went (init/fifo.py).

    Opened here, for reading and writing: init might lack the permission to open them, and such a descriptor neither
    blocks nor sees end of file (fifo(7)).
    """
    for name, file in (("fifo", FIFO_NEW), ("report", REPORT)):
        path = run.state.directory + "/" + file
        posix.mkfifo(path, 0o600)
        run.fds[name] = posix.open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC)


def private_procfs(run: HostRun, *, sysctl: bool) -> None:
    """Make our own procfs before anything of the container's is mounted (CVE-2025-52881)."""
    run.fds["procfs"] = procfs.open_private(subset_pid=True)
    if sysctl:
        # With /proc/sys it is the dangerous kind to leak: init closes it after the last sysctl.
        run.fds["procfs/sysctl"] = procfs.open_private(subset_pid=False)


def give_procfs(run: HostRun, *, whole: bool) -> None:
    """Send a process that has joined a pid namespace its own directory of /proc: others in there may look at what it
    holds (CVE-2016-9962), and from a whole procfs of our pid namespace a path leads to the host's root.

    whole: if it cannot be cloned (no CAP_SYS_ADMIN), send all of /proc, since then nobody there can look.
    """
    try:
        fd = procfs.clone_of(run.pid)
    except OSError:
        if not whole:
            raise
        fd = posix.open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)
    channel_of(run).send("procfs", fd=fd)
    posix.close(fd)


def adopt(run: HostRun) -> None:
    """Learn the pid of the init process from the stage before it, and reap the stage.

    Only our own child is accepted (the stage has made it one by CLONE_PARENT): later steps change the limits of this
    process, and kill it if something fails.
    """
    pid = wait_for(run, "pid").get("pid")
    stage, run.stage = run.stage, 0
    if stage:
        if not isinstance(pid, int) or not 0 < pid < 1 << 31 or pid == stage or not _is_our_child(pid):
            raise Error("the init process sent a malformed message")
        pidfd = _kernel.pidfd_open(pid, 0)
        # It has nothing left to do, and a process that stops it must not stop us.
        try:
            _kernel.pidfd_send_signal(run.pidfd, SIGKILL)
        except ProcessLookupError:
            pass
        posix.waitpid(stage, 0)
        posix.close(run.pidfd)
        run.pid, run.pidfd = pid, pidfd


def _is_our_child(pid: int) -> bool:
    try:
        posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def save_state(run: HostRun) -> None:
    """Write the state before init may continue, so that a killed create leaves nothing that delete cannot find."""
    run.state.pid = run.pid
    run.state.start_time = process_start(run.pid)
    run.state.pidfd_inode = pidfd_inode_of(run.pidfd)
    run.state.cgroup = run.cgroup.to_state() if run.cgroup is not None else None
    run.state.save()


def tell(run: HostRun, *, barrier: str, hooks: bool = False) -> None:
    """Let the init lane, which waits for this barrier, continue. hooks: it runs hooks next."""
    if hooks:
        run.hooks_ran = True
    channel_of(run).send(barrier)


def wait(run: HostRun, *, barrier: str) -> None:
    """Wait for the init lane."""
    wait_for(run, barrier)


def wait_for(run: HostRun, barrier: str) -> dict[str, object]:
    """Read init's messages until this one, or until it reports a failure.

    Raises Error for a signal that ends us, and if others hold init up.
    """
    stopped = 0
    while True:
        channel = channel_of(run)
        ready = dict(_kernel.poll([(channel.fd, POLLIN), (run.interrupts, POLLIN), (run.pidfd, POLLIN)], GLANCE_MS))
        if not ready:
            from ocipy.host.held_up import glance

            stopped = glance(run.name, run.pid, run.pidfd, stopped)
            continue
        # Only before init's first message: after its last it continues alone, and exec's may already run its command.
        if channel.fd not in ready:
            interrupts.check(run.interrupts)
            if not _kernel.poll([(channel.fd, POLLIN)], 0):
                # A stage that is killed after its fork leaves a child that holds the channel and waits as we do.
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
            raise Error(f"the init process said {kind[:40]!r} instead of {barrier}")
        log.warning(str(body.get("text"))[:4096])


def channel_of(run: HostRun) -> Channel:
    """Return the channel to init, which exists since the clone. Raises Error before that."""
    if run.channel is None:
        raise Error("internal error: the init process has not been cloned yet")
    return run.channel


def created(run: HostRun) -> None:
    """Declare the container created, by a rename. From here on only init holds what it was given."""
    posix.rename(run.state.directory + "/" + FIFO_NEW, run.state.directory + "/" + FIFO)
    try:
        channel_of(run).send("created")
    except Closed:
        pass  # it has been killed meanwhile, which could as well happen a moment later
    run.let_go()


def check_pid_file(path: str) -> None:
    """Check that a pid file does not replace a device, pipe or directory. Raises Error."""
    try:
        kind = posix.lstat(path).st_mode & S_IFMT
    except OSError:  # it does not exist, or writing it will fail
        return
    if kind not in (S_IFREG, S_IFLNK):
        raise Error("the pid file is not a regular file", pointer=path, hint="it would be replaced")


def pid_file(run: HostRun, *, path: str) -> None:
    """Write the pid, without a newline: containerd parses the whole content as a number."""
    try:
        write_file(path, str(run.pid).encode(), 0o644)
    except OSError as error:
        raise Error("cannot write the pid file", pointer=path, errno=error.errno or 0) from None


ACTIONS: dict[str, Callable[..., None]] = {
    "adopt": adopt,
    "created": created,
    "fifo": fifo,
    "give_procfs": give_procfs,
    "pid_file": pid_file,
    "private_procfs": private_procfs,
    "save_state": save_state,
    "tell": tell,
    "wait": wait,
}

# The modules of this package that carry out the other actions.
PLACES = {
    "cgroup": (
        "cgroup_check_memory", "cgroup_cpuset", "cgroup_create", "cgroup_devices", "cgroup_join", "cgroup_open",
        "cgroup_own", "cgroup_write",
    ),
    "terminal": ("send_console",),
    "devices": ("device_filesystem", "device_mounts", "device_node"),
    "exec_join": ("clone_joining", "exec_cgroup", "exec_cgroup_join", "executed", "open_root", "report_pipe"),
    "hooks": ("hook", "hook_output", "keep_hook"),
    "intel_rdt": ("rdt_group", "rdt_join", "rdt_keep", "rdt_monitoring", "rdt_schema"),
    "process": ("final_affinity", "initial_affinity", "oom_score_adj", "reset_affinity"),
    "rlimits": ("raise_rlimit", "rlimit"),
    "namespace_contents": ("time_offsets", "net_devices"),
    "namespaces": ("open_namespace", "clone", "clone_stage", "uid_map", "gid_map"),
    "notify": ("notify_directory",),
    "pidfd_socket": ("send_pidfd",),
    "pid_namespace": ("adopt_init",),
    "restore": (
        "restore_criu", "restore_join", "restore_loopback", "restore_mount_points", "restore_namespaces",
        "restore_processes", "restored", "restoring",
    ),
    "seccomp": ("seccomp_filter", "seccomp_listener"),
    "shared_namespace": ("not_our_namespace",),
    "sysctl": ("host_sysctl",),
    "systemd": ("systemd_join", "systemd_properties", "systemd_scope", "systemd_unit"),
    "mounts": ("bind_rootfs", "idmap_join", "idmap_source", "open_mount_source", "open_rootfs"),
}  # fmt: skip


def carry_out(run: HostRun) -> None:
    """Carry out the host lane. Raises Error with the pointer of the step that failed; the caller undoes the steps."""
    with phase("import the steps' modules"):
        load(run.plan.host, "ocipy.host", PLACES, ACTIONS)
        load(run.plan.init)
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
            ACTIONS[step.action](run, **step.args)
    except Closed:
        raise _end_of_init(run, step) from None
    except OSError as error:
        raise _error_of_init(run, error, step) from None
    except Error as error:
        if not error.pointer and step is not None:
            error.pointer = step.pointer
        raise


def _last_word(run: HostRun) -> Error | None:
    """Return init's last message if it was an error: it likely caused ours. Raises OSError if it cannot be read."""
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
    """Return init's last message, or else that the kernel refused this step."""
    name, pointer = ("carry_out", "") if step is None else (step.name, step.pointer)
    try:
        word = _last_word(run)
    except OSError:
        word = None
    return word or refused(error, name, pointer)


def _end_of_init(run: HostRun, step: Step | None) -> Error:
    """Init is gone: return its last message, or else how it ended. step: where the host lane noticed."""
    try:
        word = _last_word(run)
    except OSError as error:  # its reason is lost: ours is the only one
        return _error_of_init(run, error, step)
    if word is not None:
        return word
    if not _kernel.poll([(run.pidfd, POLLIN)], DEAD_INIT_PATIENCE_MS):
        return Error(f"{run.name} has closed the channel")
    status = posix.waitid(posix.P_PID, run.pid, posix.WEXITED | posix.WNOWAIT)
    assert status is not None
    if status.si_code == posix.CLD_EXITED:
        return Error(f"{run.name} exited with status {status.si_status}")
    if status.si_status == SIGKILL and run.cgroup is not None and run.cgroup.oom_kills() > 0:
        if run.status == "running":
            # The OOM kills may have been other processes of the container.
            return Error(f"{run.name} was killed (possibly OOM-killed)", pointer="/linux/resources/memory/limit")
        return Error(
            "container init was OOM-killed (memory limit too low?)",
            pointer="/linux/resources/memory/limit",
            hint="the limit must leave some memory for setting up the container",
        )
    hint = ""
    if "seccomp" in run.fds:
        hint = "linux.seccomp may forbid a system call that the setup still needs: docs/seccomp.md, When it is loaded"
    return Error(f"{run.name} was killed by signal {status.si_status}", hint=hint)

"""linux.namespaces on the host: open those to join, clone init or a stage, write uidMappings and gidMappings."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, reported_as
from ocipy.host import cgroup
from ocipy.host.context import carries_out
from ocipy.host.lane import channel_of
from ocipy.init.context import Init
from ocipy.init.lane import become_init
from ocipy.init.namespaces import not_made
from ocipy.linux import _kernel, channel
from ocipy.linux.constants import CLONE_NEWNET, CLONE_PIDFD, O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_WRONLY, SIGCHLD
from ocipy.linux.procfs import open_file as open_proc
from ocipy.linux.procfs import write as write_proc
from ocipy.linux.text import shown, words_of
from ocipy.plan.namespaces import CLONE_FLAGS, Clone, CloneStage, GidMap, MakeNetwork, OpenNamespace, UidMap, flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.host.context import HostRun
    from ocipy.linux.channel import Channel

NETWORK = "/proc/self/ns/net"
HELPERS = {"uid_map": "newuidmap", "gid_map": "newgidmap"}
HELPER_DIRECTORIES = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin")

# What an errno means when we open a namespace by its path, and when we write an id map.
NOT_OPENED = {
    errno.ENOENT: "the process that it belonged to may have exited",
    errno.EACCES: "opening a process's namespace needs the privilege to trace it: CAP_SYS_PTRACE, or the same user",
}
NOT_MAPPED = {
    errno.EINVAL: "entries overlap, or an id is out of range",
    errno.EPERM: "the runtime's own user namespace does not map a range of these host ids, or not contiguously",
}


@carries_out(OpenNamespace)
def open_namespace(run: HostRun, step: OpenNamespace) -> None:
    """Open the namespace file and check its kind. Raises Error (config-linux.md, Namespaces)."""
    with reported_as(f"cannot open the {step.kind} namespace {step.path}", hint=NOT_OPENED):
        fd = posix.open(step.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    try:
        actual = _kernel.ns_type(fd)
    except OSError:
        actual = 0
    if actual != CLONE_FLAGS[step.kind]:
        posix.close(fd)
        found = next((name for name, flag in CLONE_FLAGS.items() if flag == actual), "")
        what = f"is a {found} namespace" if found else "is not a namespace"
        raise Error(f"cannot join {step.path} as the {step.kind} namespace: it {what}")
    run.fds.namespaces[step.kind] = fd


@carries_out(Clone)
def clone(run: HostRun, step: Clone) -> None:
    """Make the init process with one clone3(2)."""
    flags = CLONE_PIDFD | flags_of(step.kinds)
    ours, theirs = channel.pair()
    init = _init(run, theirs)  # before the clone: in the child only become_init handles errors
    try:
        pid, pidfd = cgroup.clone_into(run, flags, SIGCHLD, required=step.into_cgroup)
    except OSError as error:
        raise not_made(step.kinds, error) from None
    if pid == 0:
        become_init(run.plan, init)
    posix.close(theirs.fd)
    run.channel = ours
    run.pid, run.pidfd = pid, pidfd


@carries_out(MakeNetwork)
def make_network(run: HostRun, step: MakeNetwork) -> None:
    """Make a network namespace, send it to init, which is already mounting, and return to our own."""
    with reported_as("cannot open the runtime's network namespace"):
        own = posix.open(NETWORK, O_RDONLY | O_CLOEXEC)
    made = -1
    try:
        try:
            _kernel.unshare(CLONE_NEWNET)
        except OSError as error:
            raise not_made(("network",), error) from None
        try:
            with reported_as("cannot open the new network namespace"):
                made = posix.open(NETWORK, O_RDONLY | O_CLOEXEC)
        finally:
            with reported_as("cannot return to the runtime's network namespace"):
                _kernel.setns(own, CLONE_NEWNET)
        channel_of(run).send("network", fd=made)
    finally:
        posix.close(own)
        if made >= 0:
            posix.close(made)


def _init(run: HostRun, theirs: Channel) -> Init:
    return Init(
        channel=theirs,
        fds=run.fds,
        state=run.state.for_hooks(),
        preserved=run.options.preserve_fds + run.options.listen_fds,
        cgroup_paths=cgroup.expected_paths(run),
        onlooker=run.onlooker,
    )


@carries_out(CloneStage)
def clone_stage(run: HostRun, step: CloneStage) -> None:
    """Clone the stage, which joins and unshares. It becomes init itself, or forks it (pid and time namespaces)."""
    from ocipy.init.stage import run_stage

    ours, theirs = channel.pair()
    init = _init(run, theirs)
    pid, pidfd = cgroup.clone_into(run, CLONE_PIDFD, SIGCHLD, required=False)
    if pid == 0:
        run_stage(run.plan, init, step.joined, step.drop_groups, step.user, step.unshared, step.forks, step.watched)
    posix.close(theirs.fd)
    run.channel = ours
    run.pid, run.pidfd = pid, pidfd
    run.stage = pid if step.forks else 0
    if step.clocks:
        # Open it while the stage is dumpable, so that its files are ours: later an unprivileged user cannot (proc(5)).
        run.timens_offsets = open_proc(run.fds.procfs, f"{pid}/timens_offsets", O_WRONLY)


@carries_out(UidMap)
def uid_map(run: HostRun, step: UidMap) -> None:
    """Write /proc/PID/uid_map, or have newuidmap do it."""
    _write_map(run, "uid_map", step.mappings, step.by_helper)


@carries_out(GidMap)
def gid_map(run: HostRun, step: GidMap) -> None:
    """Write /proc/PID/gid_map, or have newgidmap do it."""
    if step.deny_setgroups:
        write_proc(run.fds.procfs, f"{run.pid}/setgroups", b"deny")
    _write_map(run, "gid_map", step.mappings, step.by_helper)


def _write_map(run: HostRun, name: str, mappings: Sequence[tuple[int, int, int]], by_helper: bool) -> None:
    if by_helper:
        _run_helper(HELPERS[name], run.pid, mappings, run.interrupts)
        return
    # All lines in one write: the kernel takes a map only once (user_namespaces(7)).
    lines = "".join(f"{inside} {outside} {size}\n" for inside, outside, size in mappings)
    with reported_as(f"cannot write {name} ({lines.strip()})", hint=NOT_MAPPED):
        write_proc(run.fds.procfs, f"{run.pid}/{name}", lines.encode())


def _run_helper(name: str, pid: int, mappings: Sequence[tuple[int, int, int]], interrupts: int = -1) -> None:
    """Run newuidmap(1) or newgidmap(1), from the host's own directories and never from PATH.

    They look up users, perhaps in a slow directory service. Raises Error, also if a signal interrupts us.
    """
    from ocipy.children.once import read_all

    path = ""
    for directory in HELPER_DIRECTORIES:
        candidate = directory + "/" + name
        if posix.access(candidate, posix.X_OK):
            path = candidate
            break
    if not path:
        if any(posix.access(f"{directory}/{name}", posix.F_OK) for directory in HELPER_DIRECTORIES):
            raise Error(f"this user may not execute {name}", hint="rootless containers need it (package uidmap)")
        raise Error(f"{name} is missing", hint="rootless containers need it: install the package uidmap")
    arguments = [name, str(pid)]
    for entry in mappings:
        arguments += [str(number) for number in entry]
    # Its output becomes part of our message: an engine shows the first line of standard error as the cause.
    reading, writing = posix.pipe()
    child = posix.fork()
    if child == 0:
        try:
            _kernel.reset_signals()
            posix.dup2(writing, 1)
            posix.dup2(writing, 2)
            posix.execve(path, arguments, {})
        except OSError:
            posix._exit(127)
    posix.close(writing)
    try:
        said = read_all(reading, interrupts)
    finally:
        # We may not kill a setuid program. It exits once the process whose ids it maps is gone.
        posix.close(reading)
    status = posix.waitstatus_to_exitcode(posix.waitpid(child, 0)[1])
    if status != 0:
        reason = " ".join(words_of(shown(said[:1024]))) or f"it exited with status {status}"
        file = "/etc/subuid" if name == "newuidmap" else "/etc/subgid"
        raise Error(
            f"{name} cannot map {' '.join(arguments[2:])}: {reason}",
            hint=f"the ids must be assigned to the user in {file}, and {name} must be setuid root",
        )

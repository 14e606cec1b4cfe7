"""exec: the process that joins a running container and executes the command.

It enters the container's namespaces and forks once, because a pid namespace only takes effect for children (setns(2)).
Processes in the container see only the child, which has left the host by then. If the container has no user namespace,
those with CAP_SYS_PTRACE can inspect everything that the child holds. So its root and working directory are the
container's, and no descriptor leads to a file on the host (ARCHITECTURE.md, Another process: exec).
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, caused_by, reported_as
from ocipy.init.context import carries_out
from ocipy.init.lane import become_init, close_others, report, seal_imports
from ocipy.init.namespaces import join, leave_groups
from ocipy.init.stage import take_root_ids, wait_for_host
from ocipy.init.successor import continue_in_child
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    O_RDONLY,
    POLLIN,
    PR_SET_DUMPABLE,
)
from ocipy.plan.exec import ExecRoot
from ocipy.plan.namespaces import flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from ocipy.init.context import Init
    from ocipy.plan.model import Plan

# Below /proc/PID/ns (namespaces(7)).
FILES = {
    "cgroup": "cgroup",
    "ipc": "ipc",
    "mount": "mnt",
    "network": "net",
    "pid": "pid",
    "time": "time",
    "user": "user",
    "uts": "uts",
}
# When a container's first process exits, its pid namespace closes before the exit becomes visible. Wait this long.
CONTAINER_END_PATIENCE_MS = 1000


def run_joining(plan: Plan, init: Init, kinds: Sequence[str], chroot: bool, drop_groups: bool, pid: int) -> NoReturn:
    """Join, fork if a pid namespace is among the kinds, and carry out the init lane.

    chroot: the container's root is not the root of its mount namespace. pid: of the container's process, in /proc;
    init.fds has its pidfd. drop_groups: see run_stage.
    """
    try:
        close_others(init)
        wait_for_host(init, "joined")
        # Before the first setns: processes in the container's pid namespace could inspect us (CVE-2016-9962).
        _kernel.prctl(PR_SET_DUMPABLE, 0)
        if drop_groups:
            leave_groups()
        seal_imports()
        container, init.fds.container = init.fds.container, -1
        _join(container, kinds, pid)
        if chroot:
            _enter_root(init.fds.root)
            init.fds.root = -1
        if "user" in kinds:
            take_root_ids()
        # Again: the kernel resets this if the join, or new ids, changed the capabilities (prctl(2)).
        _kernel.prctl(PR_SET_DUMPABLE, 0)
        if "pid" in kinds:
            _fork(init, container)
        else:
            init.channel.send("pid", {"pid": 0})
        posix.close(container)
    except BaseException as error:
        report(init, error, "clone_joining", "/linux/namespaces")
    become_init(plan, init)


def _enter_root(root: int) -> None:
    """Enter the container's root, before the fork: the child's root must not lead to the host."""
    posix.fchdir(root)
    posix.chroot(".")
    posix.close(root)


def _join(container: int, kinds: Sequence[str], pid: int) -> None:
    """Join all at once by the pidfd (Linux 5.8), or one by one: on older kernels, and if one of them is owned by a user
    namespace other than the container's.

    The runtime has found the container's namespaces, root and cgroup by the process's pid. Check that the process is
    still alive, so that its pid was not reused: the command must not run in some other process's namespaces.
    """
    if _kernel.poll([(container, POLLIN)], 0):
        raise _not_running()
    if not kinds:
        return
    try:
        _kernel.setns(container, flags_of(kinds))
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise _not_running() from None
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise caused_by(error, "cannot join the container's namespaces") from None
        opened = [(kind, "/linux/namespaces", _open(kind, pid)) for kind in kinds]
        if _kernel.poll([(container, POLLIN)], 0):
            # What was opened by pid may belong to another process.
            raise _not_running() from None
        join(opened)
        for _, _, fd in opened:
            posix.close(fd)


def _open(kind: str, pid: int) -> int:
    with reported_as(f"cannot open the {kind} namespace of the container"):
        try:
            return posix.open(f"/proc/{pid}/ns/{FILES[kind]}", O_RDONLY | O_CLOEXEC)
        except FileNotFoundError:
            raise _not_running() from None


def _fork(init: Init, container: int) -> None:
    """Continue in a child, which enters the pid namespace. Raises Error."""
    try:
        continue_in_child(init, enters_time=False)
    except OSError as error:
        hint = ""
        if error.errno == errno.ENOMEM and _kernel.poll([(container, POLLIN)], CONTAINER_END_PATIENCE_MS):
            # pid_namespaces(7): fork fails in a namespace whose first process has exited.
            raise _not_running() from None
        if error.errno == errno.EAGAIN:
            hint = "the container has reached its limit on processes (linux.resources.pids)"
        raise caused_by(error, "cannot fork in the container", hint=hint) from None


def _not_running() -> Error:
    return Error("container not running", hint="its process has just exited")


@carries_out(ExecRoot)
def exec_root(init: Init, step: ExecRoot) -> None:
    """Open the container's root, which has been our root since the join."""
    init.rootfs = posix.open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)

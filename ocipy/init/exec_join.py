"""exec: the process that joins a running container, and becomes the one that is executed.

It enters the container's namespaces, and forks once, for the pid namespace takes effect for children only (setns(2)).
Nobody in the container sees it before: what is seen there is the child, which has left the host. Whoever has
CAP_SYS_PTRACE there, and no user namespace of the container's own, may look at all that the child holds: its root and
working directory are the container's, and no descriptor leads to a file of the
host (ARCHITECTURE.md, A further process).
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.init.fifo import leave_runtime
from ocipy.init.lane import become_init, close_others, report, seal_imports
from ocipy.init.namespaces import join, leave_groups
from ocipy.init.stage import take_root_ids, wait_for_host
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    CLONE_PARENT,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    O_RDONLY,
    POLLIN,
    PR_SET_DUMPABLE,
)
from ocipy.plan.namespaces import flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
# A container's process that is about to end closes its pid namespace before its end can be seen.
CONTAINER_END_PATIENCE_MS = 1000


def run_joining(plan: Plan, init: Init, kinds: Sequence[str], chroot: bool, drop_groups: bool, pid: int) -> NoReturn:
    """Join, fork if a pid namespace is among the kinds, and carry out the init lane.

    chroot: the container's root is not that of a mount namespace of its own; init.fds: "root" is opened for it, and
    "container" is a pidfd of the container's process. pid: of that, in /proc. drop_groups: as for run_stage.
    """
    try:
        close_others(init)
        wait_for_host(init, "joined")
        # Before the first setns: whoever is in the container's pid namespace may look at us (CVE-2016-9962).
        _kernel.prctl(PR_SET_DUMPABLE, 0)
        if drop_groups:
            leave_groups()
        seal_imports()
        container = init.fds.pop("container")
        _join(container, kinds, pid)
        if chroot:
            _enter_root(init.fds.pop("root"))
        if "user" in kinds:
            take_root_ids()
        # The kernel undoes it where the join, or new ids, have changed the capabilities (prctl(2)).
        _kernel.prctl(PR_SET_DUMPABLE, 0)
        child = _fork(container) if "pid" in kinds else 0
        if child:
            init.channel.send("pid", {"pid": child})
            posix._exit(0)
        if "pid" not in kinds:
            init.channel.send("pid", {"pid": 0})
        posix.close(container)
    except BaseException as error:
        report(init, error, "clone_joining", "/linux/namespaces")
    become_init(plan, init)


def _enter_root(root: int) -> None:
    """Before the fork: through the root of the child one would see the host's."""
    posix.fchdir(root)
    posix.chroot(".")
    posix.close(root)


def _join(container: int, kinds: Sequence[str], pid: int) -> None:
    """All at once by the pidfd (Linux 5.8), or one by one: for older kernels, and where one of them belongs to a user
    namespace other than the container's.

    Until now the runtime has looked at the container's process by its number: its namespaces, root and cgroup. It
    lives, so the number was its own all the time; else the command would be executed beside some other process.
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
            raise Error("cannot join the container's namespaces", errno=error.errno or 0) from None
        opened = [(kind, "/linux/namespaces", _open(kind, pid)) for kind in kinds]
        if _kernel.poll([(container, POLLIN)], 0):
            # What was opened by number may be another process's.
            raise _not_running() from None
        join(opened)
        for _, _, fd in opened:
            posix.close(fd)


def _open(kind: str, pid: int) -> int:
    try:
        return posix.open(f"/proc/{pid}/ns/{FILES[kind]}", O_RDONLY | O_CLOEXEC)
    except FileNotFoundError:
        raise _not_running() from None
    except OSError as error:
        raise Error(f"cannot open the {kind} namespace of the container", errno=error.errno or 0) from None


def _fork(container: int) -> int:
    """The pid of the child, which is one of the runtime's; 0 in the child."""
    try:
        return _kernel.clone3(CLONE_PARENT, 0, -1)[0]
    except OSError as error:
        hint = ""
        if error.errno == errno.ENOMEM and _kernel.poll([(container, POLLIN)], CONTAINER_END_PATIENCE_MS):
            # pid_namespaces(7): no fork in a namespace whose first process has ended.
            raise _not_running() from None
        if error.errno == errno.EAGAIN:
            hint = "the container has as many processes as its limit permits (linux.resources.pids)"
        raise Error("cannot fork in the container", errno=error.errno or 0, hint=hint) from None


def _not_running() -> Error:
    return Error("container not running", hint="its process has just ended")


def exec_root(init: Init) -> None:
    """Open the container's root, which is ours since the join."""
    init.rootfs = posix.open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)


def let_go(init: Init) -> None:
    """Let the runtime go on: it reads the pipe until the exec, which closes it, or an error."""
    leave_runtime(init)
    init.report_fd = init.fds.pop("report")


ACTIONS: dict[str, Callable[..., None]] = {"exec_root": exec_root, "let_go": let_go}

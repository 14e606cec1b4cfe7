"""Enter a pid namespace in which other processes may inspect us: at the very end, when we hold nothing of the host.

Processes there with CAP_SYS_PTRACE in our user namespace can follow the root, the working directory and the
descriptors of each process (ptrace(2), proc(5)). setns(2) only affects children. So init makes the container's root
outside, enters it, covers the paths, and only then forks. A procfs shows the pid namespace of the process that makes
it, so a short-lived child makes it there: one that holds only a socket, and has an empty root.
"""

from __future__ import annotations

import posix

from ocipy.errors import Error, reported_as
from ocipy.init.context import carries_out
from ocipy.init.mounts import HARMLESS, cannot_mount, finish, make_filesystem, open_target
from ocipy.init.process import close_all_but
from ocipy.init.successor import continue_in_child
from ocipy.linux import _kernel, channel
from ocipy.linux.constants import (
    CLONE_NEWPID,
    CLONE_PIDFD,
    POLLIN,
    PR_SET_PDEATHSIG,
    SIGCHLD,
    SIGCONT,
    SIGKILL,
)
from ocipy.plan.pid_namespace import EnterPidNamespace, MountProcfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ocipy.init.context import Init

# Processes in the pid namespace may stop one that enters. Continue it this many times, then give up.
GLANCE_MS = 100
GLANCES = 50


@carries_out(EnterPidNamespace)
def enter_pid_namespace(init: Init, step: EnterPidNamespace) -> None:
    """Fork into the pid namespace. Returns only in the child.

    terminal: the standard streams are a terminal that becomes the controlling one of the child's session.
    """
    namespace = init.fds.namespaces.pop("pid")
    _join(namespace)
    posix.close(namespace)
    continue_in_child(init, enters_time=step.time)
    _kernel.prctl(PR_SET_PDEATHSIG, SIGKILL)  # children do not inherit it
    posix.setsid()
    if step.terminal:
        _kernel.tty_set_controlling(0)


def _join(namespace: int) -> None:
    with reported_as("cannot join the pid namespace"):
        _kernel.setns(namespace, CLONE_NEWPID)


@carries_out(MountProcfs)
def mount_procfs(init: Init, step: MountProcfs) -> None:
    """Mount a procfs of the pid namespace that we enter later. Arguments: see mount in init/mounts.py."""
    target = open_target(init, step.destination, step.fstype)
    ours, theirs = channel.pair()
    child = posix.fork()
    if child == 0:
        _in_helper(init.fds.namespaces["pid"], theirs, step)
    posix.close(theirs.fd)
    try:
        _, body, fds = ours.receive(max_fds=1)
    except channel.Closed:
        raise Error(
            f"the process that mounts {step.fstype} on {step.destination} in the joined pid namespace was killed"
        ) from None
    finally:
        posix.close(ours.fd)
        posix.waitpid(child, 0)
    if not fds:
        raise Error.from_message(body)
    finish(init, step, fds[0], target, step.late)


def _in_helper(namespace: int, theirs: channel.Channel, step: MountProcfs) -> NoReturn:
    """Drop everything that leads to the host, then have a child make the filesystem. Send its mount, or an error."""
    try:
        _kernel.prctl(PR_SET_PDEATHSIG, SIGKILL)
        close_all_but(0, [namespace, theirs.fd])
        # ".." cannot leave a detached mount. Being our root keeps it alive after its descriptor is closed.
        empty = make_filesystem("tmpfs", "tmpfs", HARMLESS, (), ("nr_blocks=1", "nr_inodes=1"), "")
        posix.fchdir(empty)
        posix.chroot(".")
        posix.close(empty)
        _join(namespace)
        posix.close(namespace)
        pid, pidfd = _kernel.clone3(CLONE_PIDFD, SIGCHLD, -1)
        if pid == 0:
            try:
                theirs.send(
                    "mount", fd=make_filesystem("proc", step.source, step.attributes, step.superblock, step.data, "")
                )
            except OSError as error:
                raise cannot_mount("proc", step.destination, error) from None
            posix._exit(0)
        _reap(pid, pidfd)
    except Error as error:
        theirs.send("error", error.to_message())
    except OSError as error:
        theirs.send("error", cannot_mount("proc", step.destination, error).to_message())
    finally:
        posix._exit(1)


def _reap(pid: int, pidfd: int) -> None:
    """Wait for a child, and continue it in case others stop it. Kill it after some seconds."""
    for _ in range(GLANCES):
        if _kernel.poll([(pidfd, POLLIN)], GLANCE_MS):
            break
        _kernel.pidfd_send_signal(pidfd, SIGCONT)
    else:
        _kernel.pidfd_send_signal(pidfd, SIGKILL)
    posix.waitpid(pid, 0)

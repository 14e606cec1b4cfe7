"""kill: signal a container's process, or make sure that it ends (spec: runtime.md, Kill)."""

from __future__ import annotations

import errno
import posix

from ocipy.cgroups import freezer
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN, SIGKILL
from ocipy.state.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.cgroups.cgroup import Cgroup

KILL_PATIENCE_MS = 10_000
THAW_INTERVAL_MS = 500


class NotRunning(Error):
    """The init process has ended."""

    __slots__ = ()


def kill(state: State, signal: int, everyone: bool = False) -> None:
    """Send a signal to the container's process, or to all in its cgroup.

    Without a cgroup (rootless), only its process gets the signal; SIGKILL ends its whole pid namespace
    (pid_namespaces(7)). If the container does not have its own pid namespace, SIGKILL goes to all in the cgroup, as in
    runc, including orphans of its process; it is then no error if that process is gone. Raises Error, OSError.
    """
    status = state.status()
    if status == "creating":
        # runtime.md, Kill: the container is neither created nor running, so kill must not affect it.
        raise Error("cannot send a signal to a container that is being created", hint="delete --force ends it")
    cgroup = cgroup_of(state) if everyone or (signal == SIGKILL and state.shares_pids) else None
    if cgroup is not None and cgroup.paths and (everyone or status != "stopped" or cgroup.processes()):
        from ocipy.cgroups.ending import kill_all

        kill_all(cgroup, signal)
        return
    if status == "stopped":
        if everyone:
            return
        raise Error("container not running")
    pidfd = open_init(state)
    try:
        _kernel.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        raise Error("container not running") from None
    finally:
        posix.close(pidfd)
    if signal == SIGKILL and state.cgroup is not None:
        # A process in a frozen v1 cgroup dies only when thawed. Checked last: a pause may have come in between.
        freezer.thaw_all(state.cgroup["paths"])


def open_init(state: State) -> int:
    """A pidfd of the init process. Opened before the start time is compared: the pid cannot be reused in between.

    Raises NotRunning if the process has ended, Error, OSError.
    """
    try:
        pidfd = _kernel.pidfd_open(state.pid, 0)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            raise NotRunning("container not running") from None
        raise
    try:
        if state.is_alive(pidfd):
            return pidfd
        raise NotRunning("container not running")
    except BaseException:
        posix.close(pidfd)
        raise


def kill_init(state: State) -> None:
    """End the init process if it is alive. Raises Error, OSError."""
    try:
        pidfd = open_init(state)
    except NotRunning:
        return
    try:
        end_process(pidfd, cgroup_of(state))
    finally:
        posix.close(pidfd)


def end_process(pidfd: int, cgroup: Cgroup | None) -> None:
    """Send SIGKILL and wait until it is dead. A zombie counts: its parent may never reap it. Raises Error."""
    try:
        _kernel.pidfd_send_signal(pidfd, SIGKILL)
    except ProcessLookupError:
        return
    for _ in range(KILL_PATIENCE_MS // THAW_INTERVAL_MS):
        if cgroup is not None:
            # On v1 a frozen process does not die, and a pause may come in between.
            cgroup.thaw()
        if _kernel.poll([(pidfd, POLLIN)], THAW_INTERVAL_MS):
            return
    from ocipy.operations.holding import does_not_die

    raise does_not_die(pidfd)


def cgroup_of(state: State) -> Cgroup | None:
    """The container's cgroup, None if it does not have its own."""
    if state.cgroup is None:
        return None
    from ocipy.cgroups.cgroup import Cgroup

    return Cgroup.from_state(state.cgroup)

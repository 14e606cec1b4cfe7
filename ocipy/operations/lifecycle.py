"""The state machine after create: start, kill, delete (spec: runtime.md, Operations)."""

from __future__ import annotations

import errno
import posix

from ocipy import log
from ocipy.cgroups import freezer
from ocipy.errors import Error
from ocipy.host.report import raise_failure, read_to_end
from ocipy.init.fifo import EXECUTING
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    O_CLOEXEC,
    O_NONBLOCK,
    O_RDONLY,
    POLLIN,
    S_IFDIR,
    S_IFMT,
    SIGKILL,
)
from ocipy.linux.files import exists
from ocipy.operations.waking import dismiss, wake
from ocipy.state.directory import DOES_NOT_EXIST, STATE, Foreign, check_id, lock, remove_directory
from ocipy.state.state import FIFO, FIFO_NEW, REPORT, ROOTFS_MOUNT, State, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.cgroups.cgroup import Cgroup

KILL_PATIENCE_MS = 10_000
THAW_INTERVAL_MS = 500
# For an init that has told of an error.
FAILED_INIT_PATIENCE_MS = 2000


class NotRunning(Error):
    """The init process has ended."""

    __slots__ = ()


def start(state: State, pidfd: int = -1, interrupts: int = -1) -> None:
    """Let init go on to the exec, and wait until that has happened.

    The container's lock is held by the caller, who lets go of it before run_poststart. interrupts: as
    children/interrupts.py has it. Raises Error; where that is a hook's, the container is gone.
    """
    status = state.status(locked=True)
    if status != "created":
        texts = {
            "running": "cannot start an already running container",
            "stopped": "cannot start a container that has stopped",
        }
        raise Error(texts.get(status, f"cannot start a container in the {status} state"))
    ours = pidfd < 0
    if ours:
        pidfd = open_init(state)
    try:
        _let_go(state, pidfd, interrupts)
    except Error as error:
        if error.pointer.startswith("/hooks/"):
            # Spec, lifecycle step 7: stop the container and continue at step 12.
            end(state)
        raise
    finally:
        if ours:
            posix.close(pidfd)


def _let_go(state: State, pidfd: int, interrupts: int) -> None:
    said = b""
    # Never a blocking open: init may be dead by the time (fifo(7)).
    report = posix.open(state.directory + "/" + REPORT, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    try:
        if wake(state.directory + "/" + FIFO):
            said = read_to_end(report, "the init process", state.pid, pidfd, interrupts)
    finally:
        posix.close(report)
    unlink(state.directory + "/" + FIFO)
    try:
        raise_failure(said)
    except Error:
        # It ends now: nobody who asks after this is to find it running.
        _kernel.poll([(pidfd, POLLIN)], FAILED_INIT_PATIENCE_MS)
        raise
    if EXECUTING not in said:
        raise Error(
            "cannot start the container: its init process has ended",
            hint="it was killed, or ran out of memory: linux.resources.memory.limit",
        )


def kill(state: State, signal: int, everyone: bool = False) -> None:
    """Send a signal to the container's process, or to all in its cgroup.

    Without a cgroup (rootless) everyone is its process: with SIGKILL all of its pid namespace end (pid_namespaces(7)).
    Where that is not its own, SIGKILL is for all in the cgroup, as with runc: also for those that its process has left
    behind, and then it is no error that this one is gone. Raises Error, OSError.
    """
    status = state.status()
    if status == "creating":
        # runtime.md, Kill: neither created nor running, so no effect on it.
        raise Error("cannot send a signal to a container that is being created", hint="delete --force ends it")
    cgroup = _cgroup(state) if everyone or (signal == SIGKILL and state.shares_pids) else None
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
        # A process in a frozen v1 cgroup dies only once it is thawed. Asked now: a pause may have been quicker.
        freezer.thaw_all(state.cgroup["paths"])


def open_init(state: State) -> int:
    """A pidfd of the init process: opened first, then compared, so that the pid cannot be another's.

    Raises NotRunning where it has ended, Error, OSError.
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


def delete(root: str, container_id: str, force: bool = False) -> None:
    """Undo what create did and run the poststop hooks. force: also kill, and no error for an id that is not there."""
    check_id(container_id)
    directory = root + "/" + container_id
    if force:
        # Before the lock: a create that hangs in a hook holds it, and fails now.
        _kill_early(root, container_id)
    try:
        lock_fd = lock(directory)
    except Error as error:
        if force and _is_gone(directory, error):
            return
        raise
    try:
        _delete_locked(root, container_id, force)
    finally:
        posix.close(lock_fd)


def _kill_early(root: str, container_id: str) -> None:
    try:
        state = load(root, container_id)
    except Error:
        return
    if state.is_alive():
        _kill_init(state)


def _delete_locked(root: str, container_id: str, force: bool) -> None:
    try:
        state = load(root, container_id)
    except Foreign:
        raise
    except Error as error:
        if force and not error.errno:
            # Left by a killed create before it had a state, and so before it had a process; or a state beyond reading,
            # whose process waits for start perhaps.
            for name in (FIFO, FIFO_NEW):
                dismiss(f"{root}/{container_id}/{name}")
            if exists(f"{root}/{container_id}/{STATE}"):
                from ocipy.operations.unreadable import clear

                clear(root + "/" + container_id, container_id)
            remove_directory(root + "/" + container_id)
            return
        raise
    status = state.status(locked=True)
    if status != "stopped":
        if not force:
            raise Error(
                f"cannot delete container {container_id} that is not stopped: {status}",
                hint=f"stop it first, or kill and delete it by: ocipy delete --force {container_id}",
            )
    end(state)


def end(state: State) -> None:
    """Kill the init process, if it lives, and destroy the container. Raises Error."""
    _kill_init(state)
    destroy(state)


def destroy(state: State) -> None:
    """Remove the cgroup, with what is left in it, and the state; then the poststop hooks."""
    remove_cgroup(_cgroup(state))
    if state.rdt is not None:
        from ocipy.host.intel_rdt import remove

        remove(state.rdt["remove"])
    release_root(state)
    remove_directory(state.directory)
    run_poststop(state)


def abandon(state: State, *, locked: bool = True) -> None:
    """Destroy a container that could not be started, if nobody has done so. locked: the caller holds its lock."""
    try:
        if not locked:
            _finish(state, end)
        elif _is_directory(state.directory):
            end(state)
    except (Error, OSError) as problem:
        log.warning(f"{problem}; what is left goes by: ocipy delete --force {state.container_id}")


def delete_ended(state: State) -> None:
    """Destroy a container of `run` that has come to its end, unless a delete is quicker."""
    _finish(state, destroy)


def _finish(state: State, how: Callable[[State], None]) -> None:
    """Do the last thing to a container, with its lock, unless a delete is quicker."""
    root = state.directory.rpartition("/")[0]
    try:
        lock_fd = lock(state.directory)
    except Error as error:
        if not _is_gone(state.directory, error):
            raise
        return
    try:
        # Another container may have the id by now.
        if load(root, state.container_id).created == state.created:
            how(state)
    finally:
        posix.close(lock_fd)


def release_root(state: State) -> None:
    """Unmount what create had to mount on the root filesystem itself, for want of a mount namespace."""
    if exists(state.directory + "/" + ROOTFS_MOUNT):
        from ocipy.host.mounts import release_rootfs

        release_rootfs(state.directory, state.rootfs)


def run_poststart(state: State, interrupts: int = -1) -> None:
    """The hooks that follow the exec, without the container's lock: they, and others meanwhile, may call ocipy.

    Raises the Error of the first that fails, or of a signal; then the container is gone (spec, lifecycle step 9).
    """
    if state.hooks.get("poststart"):
        from ocipy.host import hooks

        try:
            hooks.run_poststart(state, interrupts)
        except BaseException:
            abandon(state, locked=False)
            raise


def run_poststop(state: State) -> None:
    """The hooks that follow the end, whatever becomes of them (spec, lifecycle step 13)."""
    if state.hooks.get("poststop"):
        from ocipy.host import hooks

        hooks.run_poststop(state)


def _cgroup(state: State) -> Cgroup | None:
    if state.cgroup is None:
        return None
    from ocipy.cgroups.cgroup import Cgroup

    return Cgroup.from_state(state.cgroup)


def remove_cgroup(cgroup: Cgroup | None) -> None:
    """Remove it with what is left in it. Raises Error."""
    if cgroup is None:
        return
    from ocipy.cgroups.ending import remove

    try:
        if cgroup.systemd is not None:
            from ocipy.host import systemd

            systemd.stop(cgroup)
        remove(cgroup)
    except OSError as error:
        raise Error("cannot remove the cgroup", pointer="/linux/cgroupsPath", errno=error.errno or 0) from None


def _kill_init(state: State) -> None:
    try:
        pidfd = open_init(state)
    except NotRunning:
        return
    try:
        end_process(pidfd, _cgroup(state))
    finally:
        posix.close(pidfd)


def end_process(pidfd: int, cgroup: Cgroup | None) -> None:
    """SIGKILL, and wait until it is dead: a zombie counts, its parent may never reap it. Raises Error."""
    try:
        _kernel.pidfd_send_signal(pidfd, SIGKILL)
    except ProcessLookupError:
        return
    for _ in range(KILL_PATIENCE_MS // THAW_INTERVAL_MS):
        if cgroup is not None:
            # On v1 what is frozen does not die; and a pause may come in between.
            cgroup.thaw()
        if _kernel.poll([(pidfd, POLLIN)], THAW_INTERVAL_MS):
            return
    from ocipy.operations.holding import does_not_die

    raise does_not_die(pidfd)


def unlink(path: str) -> None:
    """Remove a file that may not be there."""
    try:
        posix.unlink(path)
    except OSError:
        pass


def _is_gone(directory: str, error: Error) -> bool:
    """Whether the lock was refused for there is no such container. One that is made anew since then is another."""
    return error.what == DOES_NOT_EXIST or not _is_directory(directory)


def _is_directory(path: str) -> bool:
    try:
        return posix.lstat(path).st_mode & S_IFMT == S_IFDIR
    except OSError:
        return False

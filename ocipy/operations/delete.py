"""delete: undo what create did (spec: runtime.md, Delete); also after start has failed, or at the end of `run`."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.errors import Error, reported_as
from ocipy.linux.constants import S_IFDIR, S_IFMT
from ocipy.linux.files import exists
from ocipy.operations.kill import cgroup_of, kill_init
from ocipy.operations.waking import dismiss
from ocipy.phases import phase
from ocipy.state.directory import DOES_NOT_EXIST, STATE, Foreign, check_id, lock, lock_again, remove_directory
from ocipy.state.state import FIFO, FIFO_NEW, ROOTFS_MOUNT, State, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.cgroups.cgroup import Cgroup
    from ocipy.systemd.bus import Connection


def delete(root: str, container_id: str, force: bool = False) -> None:
    """Undo what create did and run the poststop hooks. force: kill first, and accept an unknown id."""
    check_id(container_id)
    directory = root + "/" + container_id
    if force:
        # Before taking the lock, which a create that hangs in a hook may hold: this makes it fail.
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
        kill_init(state)


def _delete_locked(root: str, container_id: str, force: bool) -> None:
    try:
        state = load(root, container_id)
    except Foreign:
        raise
    except Error as error:
        if force and not error.errno:
            # A create was killed before it had a state, and so before it had a process; or the state is unreadable, and
            # its process may wait for start.
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
                hint=f"stop it first, or kill and delete it with: ocipy delete --force {container_id}",
            )
    end(state)


def end(state: State) -> None:
    """Kill the init process if it is alive, and destroy the container. Raises Error."""
    kill_init(state)
    destroy(state)


def destroy(state: State, bus: Connection | None = None) -> None:
    """Remove the cgroup with its remaining processes, and the state; then run the poststop hooks.

    bus: an open connection to systemd."""
    with phase("remove the cgroup"):
        remove_cgroup(cgroup_of(state), bus)
    if state.rdt is not None:
        from ocipy.host.intel_rdt import remove_groups

        remove_groups(state.rdt["remove"])
    release_root(state)
    with phase("remove the state directory"):
        remove_directory(state.directory)
    with phase("poststop hooks"):
        run_poststop(state)


def abandon(state: State, *, locked: bool = True) -> None:
    """Destroy a container that could not be started, unless it is gone already. locked: the caller holds its lock."""
    try:
        if not locked:
            _finish(state, end)
        elif _is_directory(state.directory):
            end(state)
    except (Error, OSError) as problem:
        log.warning(f"{problem}; remove the leftovers with: ocipy delete --force {state.container_id}")


def delete_ended(state: State, bus: Connection | None = None, directory: int = -1) -> None:
    """Destroy a container of `run` that has ended, unless another delete came first.

    bus: a connection to systemd. directory: the state directory, from state.directory.unlock.
    """
    if directory < 0:
        _finish(state, destroy, bus)
    elif lock_again(directory, state.directory):
        destroy(state, bus)


def _finish(state: State, how: Callable[..., None], *arguments: object) -> None:
    """End or destroy a container under its lock, unless another delete came first."""
    root = state.directory.rpartition("/")[0]
    try:
        lock_fd = lock(state.directory)
    except Error as error:
        if not _is_gone(state.directory, error):
            raise
        return
    try:
        # Another container may have this id by now.
        if load(root, state.container_id).created == state.created:
            how(state, *arguments)
    finally:
        posix.close(lock_fd)


def release_root(state: State) -> None:
    """Remove the mount that create had to put on the root filesystem on the host, without a mount namespace."""
    if exists(state.directory + "/" + ROOTFS_MOUNT):
        from ocipy.host.rootfs import release_rootfs

        release_rootfs(state.directory, state.rootfs)


def remove_cgroup(cgroup: Cgroup | None, bus: Connection | None = None) -> None:
    """Remove the cgroup with its remaining processes. bus: an open connection to systemd. Raises Error."""
    if cgroup is None:
        return
    from ocipy.cgroups.ending import remove

    with reported_as("cannot remove the cgroup", pointer="/linux/cgroupsPath"):
        if cgroup.systemd is not None:
            from ocipy.host import systemd

            systemd.stop(cgroup, bus)
        remove(cgroup)


def run_poststop(state: State) -> None:
    """Run the hooks that follow the end; failures are only warnings (spec, lifecycle step 13)."""
    if state.hooks.get("poststop"):
        from ocipy.host import hooks

        hooks.run_poststop(state)


def _is_gone(directory: str, error: Error) -> bool:
    """Whether the lock was refused because the container is gone. One created since then is a different container."""
    return error.what == DOES_NOT_EXIST or not _is_directory(directory)


def _is_directory(path: str) -> bool:
    try:
        return posix.lstat(path).st_mode & S_IFMT == S_IFDIR
    except OSError:
        return False

"""mounts on the host: what it opens while it can walk paths with its privileges; uidMappings and gidMappings."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.init.mounts import open_source
from ocipy.init.rootfs import clone_root, open_directory
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    CLONE_NEWUSER,
    CLONE_PIDFD,
    MNT_DETACH,
    MOUNT_ATTR_IDMAP,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_PRIVATE,
    O_CLOEXEC,
    O_RDONLY,
    SIGCHLD,
)
from ocipy.linux.files import read_file, write_file
from ocipy.state.state import ROOTFS_MOUNT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocipy.host.context import HostRun


def open_rootfs(run: HostRun, *, path: str, propagation: int) -> None:
    """Open a detached copy of the root filesystem, for an init that may not search the directories above it."""
    posix.close(open_directory(path))
    run.fds["rootfs"] = clone_root(path, propagation)


def bind_rootfs(run: HostRun, *, path: str) -> None:
    """Without a mount namespace the container's mounts are the host's: put them on a mount that delete removes."""
    directory = open_directory(path)
    tree = clone_root(path, MS_PRIVATE)
    # Recorded first: delete must know about whatever a killed create leaves behind.
    number = _kernel.mount_id(tree, "", AT_EMPTY_PATH)
    write_file(run.state.directory + "/" + ROOTFS_MOUNT, str(number).encode())
    _kernel.move_mount(tree, "", directory, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
    posix.close(tree)
    posix.close(directory)


def release_rootfs(state_directory: str, path: str) -> None:
    """Unmount what bind_rootfs mounted, with everything on it, if it is still mounted there. For delete."""
    try:
        mount_id = int(read_file(state_directory + "/" + ROOTFS_MOUNT))
        directory = open_directory(path)
    except (OSError, ValueError, Error):
        return
    ours = _kernel.mount_id(directory, "", AT_EMPTY_PATH) == mount_id
    posix.close(directory)
    if ours:
        _kernel.umount2(path, MNT_DETACH)


def open_mount_source(
    run: HostRun,
    *,
    name: str,
    source: str,
    destination: str,
    recursive: bool,
    nofollow: bool,
    propagation: int,
    idmap: str,
    idmap_recursive: bool,
) -> None:
    """Open a detached copy of a bind mount's source, with mapped ids if idmap names a user namespace's descriptor.

    propagation: MS_… of the copy, 0 to leave it a peer. A slave receives the host's mount events, not the reverse.
    """
    tree = run.fds[name] = open_source(source, destination, recursive, nofollow)
    if propagation:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, propagation, -1)
    if idmap:
        flags = AT_EMPTY_PATH | (AT_RECURSIVE if idmap_recursive else 0)
        try:
            _kernel.mount_setattr(tree, "", flags, MOUNT_ATTR_IDMAP, 0, 0, run.id_maps[idmap])
        except OSError as error:
            hint = ""
            if error.errno == errno.EINVAL:
                hint = "the source's filesystem does not support mapped mounts, or this mount is already mapped"
            raise Error(f"cannot map the ids of {source}", errno=error.errno or 0, hint=hint) from None


def idmap_join(run: HostRun, *, name: str, path: str) -> None:
    """Open the user namespace that the container joins, as a map for mounts."""
    if name not in run.id_maps:
        run.id_maps[name] = posix.open(path, O_RDONLY | O_CLOEXEC)


def idmap_source(
    run: HostRun, *, name: str, uids: Sequence[tuple[int, int, int]], gids: Sequence[tuple[int, int, int]]
) -> None:
    """Make a user namespace with these maps, for the mounts that need them. No process ever runs in it."""
    if name in run.id_maps:
        return
    reading, writing = posix.pipe()
    pid, pidfd = _kernel.clone3(CLONE_NEWUSER | CLONE_PIDFD, SIGCHLD, -1)
    if pid == 0:
        # Until the other end is closed, by the runtime when it is done, or by its death.
        try:
            posix.close(writing)
            posix.read(reading, 1)
        finally:
            posix._exit(0)
    posix.close(reading)
    posix.close(pidfd)
    try:
        for kind, triples in (("uid_map", uids), ("gid_map", gids)):
            lines = "".join(f"{inside} {outside} {size}\n" for inside, outside, size in triples)
            try:
                procfs.write(run.fds["procfs"], f"{pid}/{kind}", lines.encode())
            except OSError as error:
                raise Error(f"cannot make the map {lines.strip()!r}", errno=error.errno or 0) from None
        run.id_maps[name] = posix.open(f"{pid}/ns/user", O_RDONLY | O_CLOEXEC, dir_fd=run.fds["procfs"])
    finally:
        posix.close(writing)
        posix.waitpid(pid, 0)


ACTIONS: dict[str, Callable[..., None]] = {
    "bind_rootfs": bind_rootfs,
    "idmap_join": idmap_join,
    "idmap_source": idmap_source,
    "open_mount_source": open_mount_source,
    "open_rootfs": open_rootfs,
}

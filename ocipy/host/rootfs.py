"""root.path and rootfsPropagation on the host: open it for init, or, without a mount namespace, bind it onto itself."""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.host.context import carries_out
from ocipy.init.rootfs import clone_root, open_rootfs_directory
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    MNT_DETACH,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_PRIVATE,
)
from ocipy.linux.files import read_file, write_file
from ocipy.plan.rootfs import BindRootfs, OpenRootfs
from ocipy.state.state import ROOTFS_MOUNT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(OpenRootfs)
def open_rootfs(run: HostRun, step: OpenRootfs) -> None:
    """Open a detached copy of the root filesystem, for an init that may not search the directories above it."""
    posix.close(open_rootfs_directory(step.path))
    run.fds.rootfs = clone_root(step.path, step.propagation)


@carries_out(BindRootfs)
def bind_rootfs(run: HostRun, step: BindRootfs) -> None:
    """Without a mount namespace, the host gets the container's mounts: put them on a mount that delete removes."""
    directory = open_rootfs_directory(step.path)
    tree = clone_root(step.path, MS_PRIVATE)
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
        directory = open_rootfs_directory(path)
    except (OSError, ValueError, Error):
        return
    ours = _kernel.mount_id(directory, "", AT_EMPTY_PATH) == mount_id
    posix.close(directory)
    if ours:
        _kernel.umount2(path, MNT_DETACH)

"""root and linux.rootfsPropagation: the steps that turn the root into a mount, then into "/", and root.readonly."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import reported_as
from ocipy.init.context import carries_out
from ocipy.init.mounts import attach
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_SLAVE,
    O_DIRECTORY,
    O_PATH,
    OPEN_TREE_CLONE,
)
from ocipy.plan.rootfs import AttachRootfs, Chroot, PivotRoot, Propagation, Rootfs, RootReadonly, UseRootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(Propagation)
def propagation(init: Init, step: Propagation) -> None:
    """Set the mount propagation of "/"; with MS_REC also of everything below it (mount_namespaces(7)).

    By mount(2): on older kernels mount_setattr(2) refuses a root that is not mounted on anything, such as an initramfs.
    """
    hint = 'the runtime\'s "/" is not a mount point, as in a chroot: first bind-mount that directory onto itself'
    with reported_as('cannot set the propagation of the mounts below "/"', hint={errno.EINVAL: hint}):
        _kernel.mount(None, "/", None, step.flags, None)


@carries_out(Rootfs)
def rootfs(init: Init, step: Rootfs) -> None:
    """Bind the root filesystem onto itself, so that it becomes a mount that pivot_root(2) accepts, and open it.

    propagation, parent: MS_… for the copy, and for the mount that contains it; 0 leaves that one unchanged.
    """
    directory = open_rootfs_directory(step.path)
    init.root_path = procfs.path_of(init.proc, directory).rstrip("/")
    if step.parent:
        _set_parent(directory, init.root_path.count("/"), step.parent)
    init.rootfs = clone_root(step.path, step.propagation)
    attach(init.rootfs, directory)


def open_rootfs_directory(path: str) -> int:
    """Return an O_PATH descriptor of the root filesystem. Raises Error."""
    with reported_as(
        f"cannot open the root filesystem {path}",
        hint={
            errno.ENOENT: "root.path must be an existing directory; see config.md, Root",
            errno.EACCES: "the container's user namespace may not search a directory above it",
        },
    ):
        return posix.open(path, O_PATH | O_DIRECTORY)


def _set_parent(directory: int, depth: int, flag: int) -> None:
    """Set the propagation of the mount that contains the directory, at that mount's root: here, or further up.

    pivot_root(2) refuses a root whose parent mount is shared, and mounts on it would propagate to the host.
    depth: how many directories are above this one.
    """
    for level in range(depth + 1):
        try:
            _kernel.mount_setattr(directory, "../" * level, AT_EMPTY_PATH, 0, 0, flag, -1)
            return
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    # "/" is not a mount point: we are in a chroot, and pivot_root will refuse


def same_place(one: int, other: int) -> bool:
    """Whether two descriptors refer to one file through one mount."""
    a, b = posix.stat(one), posix.stat(other)
    if (a.st_dev, a.st_ino) != (b.st_dev, b.st_ino):
        return False
    return _kernel.mount_id(one, "", AT_EMPTY_PATH) == _kernel.mount_id(other, "", AT_EMPTY_PATH)


def clone_root(path: str, propagation: int) -> int:
    """Return a detached copy of the root filesystem, with everything mounted below it. For both lanes. Raises Error."""
    with reported_as(f"cannot bind the root filesystem {path} onto itself"):
        tree = _kernel.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE)
    # Mount events may propagate from the host into it, never the other way round.
    _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_SLAVE, -1)
    if propagation != MS_SLAVE:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, 0, 0, propagation, -1)
    return tree


@carries_out(AttachRootfs)
def attach_rootfs(init: Init, step: AttachRootfs) -> None:
    """Attach the root filesystem, which the host opened, to "/", since we may be unable to reach its own place.

    Until the pivot, paths still start below it, at our root (path_resolution(7)).
    """
    tree, init.fds.rootfs = init.fds.rootfs, -1
    _kernel.move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)
    _use(init, tree)


@carries_out(UseRootfs)
def use_rootfs(init: Init, step: UseRootfs) -> None:
    """Without a new mount namespace, take the bind mount that the host made as the container's root."""
    _use(init, open_rootfs_directory(step.path))


def _use(init: Init, fd: int) -> None:
    init.rootfs = fd
    init.root_path = procfs.path_of(init.proc, fd).rstrip("/")


@carries_out(PivotRoot)
def pivot_root(init: Init, step: PivotRoot) -> None:
    """Turn the root into "/" and detach the host's tree, by pivot_root(".", "."), which needs no other directory."""
    old = posix.open("/", O_PATH | O_DIRECTORY)
    posix.fchdir(init.rootfs)
    with reported_as(
        "cannot pivot into the root filesystem",
        hint={errno.EINVAL: "the host's root may be an initramfs; use --no-pivot"},
    ):
        _kernel.pivot_root(".", ".")
    # The old root now lies on top of the new one. As a slave it does not keep busy what the host unmounts.
    posix.fchdir(old)
    _kernel.mount_setattr(AT_FDCWD, ".", AT_RECURSIVE, 0, 0, MS_SLAVE, -1)
    _detach_old_root()
    posix.close(old)
    _enter(init)


def _detach_old_root() -> None:
    """Detach the host's tree, which is the working directory, and before that whatever is mounted on it.

    umount(2) takes the topmost mount first. Something is mounted on it if a mount of the config covers the root
    filesystem that attach_rootfs attached there.
    """
    _kernel.umount2(".", MNT_DETACH)
    while True:
        try:
            _kernel.umount2(".", MNT_DETACH)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a detached mount is no longer a mount point
                raise
            return


def _enter(init: Init) -> None:
    """Continue from "/". Reopen it: the old descriptor may belong to another mount in the same place."""
    posix.chdir("/")
    posix.close(init.rootfs)
    init.rootfs = posix.open("/", O_PATH | O_DIRECTORY)
    init.root_path = ""
    status = posix.stat(init.rootfs)
    init.root_inode = (status.st_dev, status.st_ino)


@carries_out(Chroot)
def chroot(init: Init, step: Chroot) -> None:
    """Turn the root into "/" without a pivot: in a joined mount namespace, or after it was moved over "/"."""
    posix.fchdir(init.rootfs)
    posix.chroot(".")
    _enter(init)


@carries_out(RootReadonly)
def root_readonly(init: Init, step: RootReadonly) -> None:
    """Make only the root mount read-only: mounts below it stay as the config says."""
    _kernel.mount_setattr(init.rootfs, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1)

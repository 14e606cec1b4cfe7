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
    hint = 'the runtime\'s "/" is not a mount point, as in a chroot: first bind-mount that directory on itself'
    with reported_as('cannot set the propagation of the mounts below "/"', hint={errno.EINVAL: hint}):
        _kernel.mount(None, "/", None, step.flags, None)


@carries_out(Rootfs)
def rootfs(init: Init, step: Rootfs) -> None:
    """Bind the root filesystem on itself, so that it becomes a mount that pivot_root(2) accepts, and open it.

    propagation, parent: MS_… of the copy, and of the mount below it; 0 leaves that unchanged.
    """
    directory = open_rootfs_directory(step.path)
    if step.parent:
        _set_parent(directory, step.parent)
    tree = clone_root(step.path, step.propagation)
    attach(tree, directory)
    _use(init, tree)


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


def _set_parent(directory: int, flag: int) -> None:
    """Set the propagation of the mount that contains the directory, at that mount's root, which is here or above.

    pivot_root(2) refuses a root whose parent mount is shared, and mounts on it would propagate to the host.
    """
    current = posix.dup(directory)
    try:
        while True:
            try:
                _kernel.mount_setattr(current, "", AT_EMPTY_PATH, 0, 0, flag, -1)
                return
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            above = posix.open("..", O_PATH | O_DIRECTORY, dir_fd=current)
            top = same_place(above, current)
            posix.close(current)
            current = above
            if top:
                return  # "/" is not a mount point: we are in a chroot, and pivot_root will refuse
    finally:
        posix.close(current)


def same_place(one: int, other: int) -> bool:
    """Whether two descriptors refer to one file through one mount."""
    a, b = posix.stat(one), posix.stat(other)
    if (a.st_dev, a.st_ino) != (b.st_dev, b.st_ino):
        return False
    return _kernel.mount_id(one, "", AT_EMPTY_PATH) == _kernel.mount_id(other, "", AT_EMPTY_PATH)


def clone_root(path: str, propagation: int) -> int:
    """Return a detached copy of the root filesystem, with everything mounted below it. For both lanes. Raises Error."""
    with reported_as(f"cannot bind the root filesystem {path} on itself"):
        tree = _kernel.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE)
    # Mount events may propagate from the host into it, never the other way round.
    _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_SLAVE, -1)
    if propagation != MS_SLAVE:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, 0, 0, propagation, -1)
    return tree


@carries_out(AttachRootfs)
def attach_rootfs(init: Init, step: AttachRootfs) -> None:
    """Attach the root filesystem that the host opened on "/" itself, since its own place may be out of our reach.

    Until the pivot, paths still start below it, at our root (path_resolution(7)).
    """
    tree, init.fds.rootfs = init.fds.rootfs, -1
    _kernel.move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)
    _use(init, tree)


@carries_out(UseRootfs)
def use_rootfs(init: Init, step: UseRootfs) -> None:
    """Without a new mount namespace, use the bind mount that the host made as the container's root."""
    _use(init, open_rootfs_directory(step.path))


def _use(init: Init, fd: int) -> None:
    init.rootfs = fd
    init.root_path = procfs.path_of(init.proc, fd).rstrip("/")


@carries_out(PivotRoot)
def pivot_root(init: Init, step: PivotRoot) -> None:
    """Make the root "/" and detach the host's tree, in the way that needs no extra directory (pivot_root(2))."""
    old = posix.open("/", O_PATH | O_DIRECTORY)
    posix.fchdir(init.rootfs)
    with reported_as(
        "cannot pivot into the root filesystem",
        hint={errno.EINVAL: "the host's root may be an initramfs; use --no-pivot"},
    ):
        _kernel.pivot_root(".", ".")
    # The old root now lies on top of the new one. A slave, not private: a private copy would keep host mounts busy.
    posix.fchdir(old)
    _kernel.mount_setattr(AT_FDCWD, ".", AT_RECURSIVE, 0, 0, MS_SLAVE, -1)
    _detach_old_root()
    posix.close(old)
    _enter(init)


def _detach_old_root() -> None:
    """Detach the working directory's mount, the host's tree, after whatever lies on it: umount(2) takes the topmost.

    That is the root filesystem of attach_rootfs, if a mount of the config has covered it since then.
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
    """Work from "/" on: the earlier descriptor may belong to another mount in the same place."""
    posix.chdir("/")
    posix.close(init.rootfs)
    init.rootfs = posix.open("/", O_PATH | O_DIRECTORY)
    init.root_path = ""


@carries_out(Chroot)
def chroot(init: Init, step: Chroot) -> None:
    """Make the root "/" where nothing can be pivoted: in others' mount namespace, or after it was moved over "/"."""
    posix.fchdir(init.rootfs)
    posix.chroot(".")
    _enter(init)


@carries_out(RootReadonly)
def root_readonly(init: Init, step: RootReadonly) -> None:
    """Make the root mount alone read-only: mounts below it stay as the config says."""
    _kernel.mount_setattr(init.rootfs, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1)

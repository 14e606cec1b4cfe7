"""linux.maskedPaths and linux.readonlyPaths: the steps that cover paths."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, caused_by, reported_as
from ocipy.init import paths
from ocipy.init.context import Cover, carries_out
from ocipy.init.mounts import HARMLESS, attach, make_filesystem
from ocipy.init.process import is_null
from ocipy.init.rootfs import root_readonly, same_place
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    S_IFDIR,
    S_IFMT,
)
from ocipy.plan.masks import Mask, ReadonlyPath, TakeNull
from ocipy.plan.rootfs import RootReadonly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# One block and one inode, for the root directory: a tmpfs costs memory for each one that it may have.
EMPTY_DATA = ("nr_blocks=1", "nr_inodes=1", "mode=555")
MISSING = (errno.ENOENT, errno.ENOTDIR)
NOT_MAPPED = {errno.EACCES: "the owner or group of a directory above it is not mapped: map it, or omit the path"}


@carries_out(TakeNull)
def take_null(init: Init, step: TakeNull) -> None:
    """Make a detached, read-only mount of the host's /dev/null. Verify its type and device number."""
    with reported_as("cannot clone the host's /dev/null, which covers masked files"):
        tree = _kernel.open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW)
    if not is_null(tree):
        raise Error("the host's /dev/null is not the null device")
    # A read-only mount of a device still accepts writes, but its mode, owner and label cannot be changed.
    _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1)
    init.file_cover = Cover(tree)


@carries_out(ReadonlyPath)
def readonly_path(init: Init, step: ReadonlyPath) -> None:
    """Bind the path onto itself, read-only, keeping its other flags. Skip a missing path."""
    target = _open(init, step.path)
    if target < 0:
        return
    if _is_root(init, target, posix.stat(target)):
        # A mount on "/" would be out of reach: paths start at our root, which lies below it (path_resolution(7)).
        posix.close(target)
        root_readonly(init, RootReadonly())
        return
    tree = _kernel.open_tree(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE)
    _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1)
    attach(tree, target)
    posix.close(tree)


@carries_out(Mask)
def mask(init: Init, step: Mask) -> None:
    """Cover a file with /dev/null, or a directory with an empty one. Skip a missing path."""
    target = _open(init, step.path)
    if target < 0:
        return
    status = posix.stat(target)
    if _is_root(init, target, status):
        raise Error(f"{step.path} leads to the container's root, which cannot be masked")
    if status.st_mode & S_IFMT == S_IFDIR:
        if init.directory_cover is None:
            tree = make_filesystem("tmpfs", "tmpfs", HARMLESS, ("ro",), EMPTY_DATA, step.label)
            init.directory_cover = Cover(tree)
        _attach_cover(init.directory_cover, target)
    else:
        assert init.file_cover is not None
        _attach_cover(init.file_cover, target)


def _open(init: Init, path: str) -> int:
    """Open the path, or return -1 if it does not exist.

    Raises Error if we may not search a directory above it. Root of a user namespace may not if the directory's owner
    or group is not mapped (user_namespaces(7)), but the process might, as its owner or through its groups.
    """
    try:
        return paths.open_below(init.rootfs, path)
    except OSError as error:
        if error.errno in MISSING:
            return -1
        raise caused_by(error, f"cannot cover {path}", hint=NOT_MAPPED) from None


def _is_root(init: Init, target: int, status: posix.stat_result) -> bool:
    """Whether a path has led to the container's root. status: of the target."""
    return (status.st_dev, status.st_ino) == init.root_inode and same_place(target, init.rootfs)


def _attach_cover(cover: Cover, target: int) -> None:
    """Attach the mount itself the first time, and copies of it later: one filesystem serves them all."""
    if not cover.attached:
        cover.attached = True
        attach(cover.fd, target)
        return
    tree = _kernel.open_tree(cover.fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH)
    attach(tree, target)
    posix.close(tree)

"""Mounting the container's view of its cgroups."""

from __future__ import annotations

import errno
import posix

from ocipy.cgroups.layout import probe
from ocipy.errors import Error
from ocipy.init import mounts
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_REC,
    OPEN_TREE_CLONE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.init.context import Init

# A cgroup filesystem contains no programs and no devices.
SAFE = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
# The inode of the first cgroup namespace: PROC_CGROUP_INIT_INO of include/linux/proc_ns.h.
FIRST_NAMESPACE = 0xEFFFFFFB
# How the kernel refuses a new mount in a user namespace, or of a hierarchy already mounted with other options.
REFUSED = (errno.EPERM, errno.EBUSY)


def mount_cgroup2(
    init: Init,
    *,
    destination: str,
    source: str,
    data: Sequence[str],
    attributes: int,
    propagation: Sequence[int],
    recursive_set: int,
    recursive_clear: int,
    namespace: str,
    mask: bool,
) -> None:
    """Mount cgroup2, which shows what the cgroup namespace shows. If refused, bind the host's mount instead.

    Without a cgroup namespace, or in the host's, bind it at once. That shows the same, while a new mount would reset
    the options of the hierarchy and turn off the host's nsdelegate and memory_recursiveprot (cgroup-v2.rst,
    Mounting).
    """
    target = mounts.open_target(init, destination, "cgroup2")
    outside = not namespace or (namespace == "joined" and _is_of_host(init))
    if outside and not data and probe().unified:
        tree = _bind_unified(init, attributes, "", mask)
    else:
        tree = _mount_unified(init, destination, source, data, attributes, namespace, mask)
    mounts.attach(tree, target)
    _finish(tree, propagation, recursive_set, recursive_clear)


def _is_of_host(init: Init) -> bool:
    """Whether init is in the initial cgroup namespace, where a mount sets the options (kernel/cgroup/cgroup.c)."""
    return posix.stat("ns/cgroup", dir_fd=init.proc).st_ino == FIRST_NAMESPACE


def _mount_unified(
    init: Init, destination: str, source: str, data: Sequence[str], attributes: int, namespace: str, mask: bool
) -> int:
    try:
        return mounts.make_filesystem("cgroup2", source, attributes, (), data, "")
    except OSError as error:
        if error.errno not in REFUSED:
            raise Error(f"cannot mount cgroup2 on {destination}", errno=error.errno or 0) from None
    return _bind_unified(init, attributes, namespace, mask)


def _bind_unified(init: Init, attributes: int, namespace: str, mask: bool) -> int:
    layout = probe()
    path = layout.unified
    if namespace:
        path = init.cgroup_paths.get("") or layout.directory("", layout.own[""])
    try:
        return _bind(path, attributes)
    except OSError as error:
        if not mask or error.errno != errno.ENOENT:
            raise Error(f"cannot bind the cgroup {path}", errno=error.errno or 0) from None
    # Mount an empty directory. What may be below is the host's, and writable (CVE-2023-25809).
    return mounts.make_filesystem("tmpfs", "tmpfs", SAFE | MOUNT_ATTR_RDONLY, (), ("nr_blocks=1", "nr_inodes=1"), "")


def mount_cgroup1(
    init: Init,
    *,
    destination: str,
    attributes: int,
    propagation: Sequence[int],
    recursive_set: int,
    recursive_clear: int,
    namespace: str,
    label: str,
) -> None:
    """Mount a tmpfs with one directory per v1 hierarchy, and bind the container's own cgroup on each.

    In a new cgroup namespace, mounting the hierarchy would give the same root of the same filesystem
    (cgroup_namespaces(7)), but to mount it the kernel walks through all existing cgroups. In a joined one, mount the
    hierarchy itself, to show what that namespace shows. Controllers mounted together share one directory, with
    symlinks for their names. The v2 hierarchy of a hybrid host is not shown.
    """
    target = mounts.open_target(init, destination, "cgroup")
    # Writable until it has its directories. The mounts inside get their attributes beforehand.
    tree = mounts.make_filesystem("tmpfs", "tmpfs", SAFE | attributes & ~MOUNT_ATTR_RDONLY, (), ("mode=755",), label)
    mounts.attach(tree, target)
    layout = probe()
    for name, point in layout.mounts.items():
        own = init.cgroup_paths.get(name) or layout.directory(name, layout.own[name])
        try:
            hierarchy = _hierarchy(name, own, SAFE | attributes, namespace)
        except OSError as error:
            raise Error(f"cannot mount the cgroup hierarchy {name}", errno=error.errno or 0) from None
        directory = point[point.rindex("/") + 1 :]
        posix.mkdir(directory, 0o755, dir_fd=tree)
        _kernel.move_mount(hierarchy, "", tree, directory, MOVE_MOUNT_F_EMPTY_PATH)
        posix.close(hierarchy)
        for word in name.split(","):
            if "," in name and word != directory:
                posix.symlink(directory, word, dir_fd=tree)
    if attributes & MOUNT_ATTR_RDONLY:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1)
    _finish(tree, propagation, recursive_set, recursive_clear)


def _hierarchy(name: str, own: str, attributes: int, namespace: str) -> int:
    if namespace != "joined":
        try:
            return _bind(own, attributes)
        except FileNotFoundError:
            if not namespace:
                raise
            # Due to a property in the config, systemd put the unit elsewhere (host/systemd.py).
    words = ("none", name) if name.startswith("name=") else name.split(",")
    try:
        return mounts.make_filesystem("cgroup", "cgroup", attributes, (), words, "")
    except (OSError, Error) as error:
        if error.errno not in REFUSED:
            raise
    return _bind(own, attributes)


def _bind(path: str, attributes: int) -> int:
    """Return a detached copy of the mount at a path of the host, with these attributes.

    In a user namespace the existing attributes are locked (mount_namespaces(7)): the copy keeps them and adds these."""
    tree = _kernel.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)
    others = MOUNT_ATTR_RDONLY & ~attributes | MOUNT_ATTR__ATIME
    try:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, attributes, others, 0, -1)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, attributes, 0, 0, -1)
    return tree


def _finish(tree: int, propagation: Sequence[int], recursive_set: int, recursive_clear: int) -> None:
    if recursive_set or recursive_clear:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, recursive_set, recursive_clear, 0, -1)
    # Only after attaching: a mount below a shared one becomes shared (mount_namespaces(7)).
    for flag in propagation:
        recursive = AT_RECURSIVE if flag & MS_REC else 0
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | recursive, 0, 0, flag & ~MS_REC, -1)
    posix.close(tree)


ACTIONS = {"mount_cgroup1": mount_cgroup1, "mount_cgroup2": mount_cgroup2}

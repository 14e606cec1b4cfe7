"""Mounting the container's view of its cgroups."""

from __future__ import annotations

import errno
import posix

from ocipy.cgroups.layout import probe
from ocipy.errors import Error, caused_by
from ocipy.init import mounts
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
)
from ocipy.plan.cgroup_mount import MountCgroup1, MountCgroup2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# A cgroup filesystem contains no programs and no devices.
SAFE = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
# The inode of the first cgroup namespace: PROC_CGROUP_INIT_INO of include/linux/proc_ns.h.
FIRST_NAMESPACE = 0xEFFFFFFB
# How the kernel refuses a new mount: in a user namespace, or if the hierarchy is mounted with other options.
REFUSED = (errno.EPERM, errno.EBUSY)


@carries_out(MountCgroup2)
def mount_cgroup2(init: Init, step: MountCgroup2) -> None:
    """Mount cgroup2, which shows what the cgroup namespace shows. If refused, bind the host's mount instead.

    Without a cgroup namespace, or in the host's, bind it right away. That shows the same, but a new mount would reset
    the options of the hierarchy, turning off the host's nsdelegate and memory_recursiveprot (cgroup-v2.rst, Mounting).
    """
    target = mounts.open_target(init, step.destination, "cgroup2")
    outside = not step.namespace or (step.namespace == "joined" and _is_of_host(init))
    if outside and not step.data and probe().unified:
        tree = _bind_unified(init, step.attributes, "", step.mask)
    else:
        tree = _mount_unified(init, step)
    mounts.attach(tree, target)
    mounts.set_recursive(tree, step.recursive_set, step.recursive_clear)
    mounts.finish_attached(init, step, tree)


def _is_of_host(init: Init) -> bool:
    """Whether init is in the initial cgroup namespace, where a mount sets the options (kernel/cgroup/cgroup.c)."""
    return posix.stat("ns/cgroup", dir_fd=init.proc).st_ino == FIRST_NAMESPACE


def _mount_unified(init: Init, step: MountCgroup2) -> int:
    try:
        return mounts.make_filesystem("cgroup2", step.source, step.attributes, (), step.data, "")
    except OSError as error:
        if error.errno not in REFUSED:
            raise caused_by(error, f"cannot mount cgroup2 on {step.destination}") from None
    return _bind_unified(init, step.attributes, step.namespace, step.mask)


def _bind_unified(init: Init, attributes: int, namespace: str, mask: bool) -> int:
    layout = probe()
    path = layout.unified
    if namespace and path:
        path = init.cgroup_paths.get("") or layout.directory("", layout.own[""])
    try:
        return _bind(path, attributes)
    except OSError as error:
        if not mask or error.errno != errno.ENOENT:
            raise caused_by(error, f"cannot bind the cgroup {path}") from None
    # Mount an empty directory: what lies below may be the host's cgroups, and writable (CVE-2023-25809).
    return mounts.make_filesystem("tmpfs", "tmpfs", SAFE | MOUNT_ATTR_RDONLY, (), ("nr_blocks=1", "nr_inodes=1"), "")


@carries_out(MountCgroup1)
def mount_cgroup1(init: Init, step: MountCgroup1) -> None:
    """Mount a tmpfs with one directory per v1 hierarchy, and bind the container's own cgroup on each.

    In a new cgroup namespace, mounting the hierarchy would show the same directory (cgroup_namespaces(7)), but to mount
    it the kernel walks through all existing cgroups. In a joined one, mount the hierarchy itself, to show what that
    namespace shows. Controllers that are mounted together share one directory, with symlinks for their names. The v2
    hierarchy of a hybrid host is not shown.
    """
    target = mounts.open_target(init, step.destination, "cgroup")
    # Writable until it has its directories. The mounts inside get their attributes beforehand.
    tree = mounts.make_filesystem(
        "tmpfs", "tmpfs", SAFE | step.attributes & ~MOUNT_ATTR_RDONLY, (), ("mode=755",), step.label
    )
    mounts.attach(tree, target)
    layout = probe()
    for name, point in layout.mounts.items():
        own = init.cgroup_paths.get(name) or layout.directory(name, layout.own[name])
        try:
            hierarchy = _hierarchy(name, own, SAFE | step.attributes, step.namespace)
        except OSError as error:
            raise caused_by(error, f"cannot mount the cgroup hierarchy {name}") from None
        directory = point[point.rindex("/") + 1 :]
        posix.mkdir(directory, 0o755, dir_fd=tree)
        _kernel.move_mount(hierarchy, "", tree, directory, MOVE_MOUNT_F_EMPTY_PATH)
        posix.close(hierarchy)
        for word in name.split(","):
            if "," in name and word != directory:
                posix.symlink(directory, word, dir_fd=tree)
    if step.attributes & MOUNT_ATTR_RDONLY:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1)
    mounts.set_recursive(tree, step.recursive_set, step.recursive_clear)
    mounts.finish_attached(init, step, tree)


def _hierarchy(name: str, own: str, attributes: int, namespace: str) -> int:
    if namespace != "joined":
        try:
            return _bind(own, attributes)
        except FileNotFoundError:
            if not namespace:
                raise
            # A property in the config made systemd put the unit elsewhere (host/systemd.py).
    words = ("none", name) if name.startswith("name=") else name.split(",")
    try:
        return mounts.make_filesystem("cgroup", "cgroup", attributes, (), words, "")
    except (OSError, Error) as error:
        if error.errno not in REFUSED:
            raise
    return _bind(own, attributes)


def _bind(path: str, attributes: int) -> int:
    """Return a detached copy of the mount at a path of the host, with these attributes.

    In a user namespace the existing attributes are locked (mount_namespaces(7)): the copy keeps them and adds these.
    """
    tree = _kernel.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)
    others = MOUNT_ATTR_RDONLY & ~attributes | MOUNT_ATTR__ATIME
    try:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, attributes, others, 0, -1)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, attributes, 0, 0, -1)
    return tree

"""The step of --no-pivot: move the root over "/", while the host's tree stays below it in the mount namespace.

No path leads there. But if a procfs or sysfs there is fully visible, a user namespace may mount another one
(mount_namespaces(7)), without what the config masks; and it is a way out for a process that escapes the chroot. So each
one outside the root is unmounted, or covered if the mount namespace belongs to a user namespace, which cannot unmount
the mounts that it was created with.

Mounts are identified by id. Paths are not enough: several mounts may be in one place, and the root is on "/" itself.
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, reported_as
from ocipy.init.context import carries_out
from ocipy.init.mounts import attach, make_filesystem
from ocipy.init.rootfs import chroot, propagation
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_SLAVE,
    O_CLOEXEC,
    O_NOFOLLOW,
    O_PATH,
    RESOLVE_NO_SYMLINKS,
)
from ocipy.linux.text import decode
from ocipy.plan.move_root import MoveRoot
from ocipy.plan.rootfs import Chroot, Propagation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

FULL_FILESYSTEMS = (b"proc", b"sysfs")


class MountPoint:
    """A line of mountinfo (proc_pid_mountinfo(5)). full: a procfs or sysfs, from its root. cover: made by _cover."""

    __slots__ = ("cover", "full", "parent", "point", "shared")

    def __init__(self, parent: int, point: str, *, full: bool = False, shared: bool = False, cover: bool = False):
        self.parent = parent
        self.point = point
        self.full = full
        self.shared = shared
        self.cover = cover


@carries_out(MoveRoot)
def move_root(init: Init, step: MoveRoot) -> None:
    """Move the root over "/", hide every full procfs and sysfs outside it, and chroot."""
    # With rootfsPropagation "shared" our "/" may still be a peer of the host's, which would then be covered too.
    propagation(init, Propagation(flags=MS_SLAVE))
    if init.root_path:  # otherwise it is already there: by attach_rootfs, or because root.path is "/"
        _kernel.move_mount(init.rootfs, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)
    # Until the chroot, paths start at the host's root, below ours (path_resolution(7)).
    mounts = _mounts(init)
    own = _kernel.mount_id(init.rootfs, "", AT_EMPTY_PATH)
    for number in _full_outside(mounts, own):
        with reported_as(f"cannot hide the host's {mounts[number].point}", hint="omit --no-pivot"):
            _hide(mounts, number)
    chroot(init, Chroot())


def _mounts(init: Init) -> dict[int, MountPoint]:
    """Return the mounts below our root, which is still the host's, by id."""
    found = {}
    for line in procfs.read(init.proc, "mountinfo", 1 << 24).split(b"\n"):
        before, separator, after = line.partition(b" - ")
        if separator:
            number, parent, _, root, point, _, *optional = before.split(b" ")
            found[int(number)] = MountPoint(
                int(parent),
                unescape(point),
                full=root == b"/" and after.split(b" ")[0] in FULL_FILESYSTEMS,
                shared=any(word.startswith(b"shared:") for word in optional),
            )
    return found


def unescape(text: bytes) -> str:
    """Decode a path of mountinfo, in which blanks and backslashes are octal escapes."""
    parts = text.split(b"\\")
    out = parts[0]
    for part in parts[1:]:
        out += bytes([int(part[:3], 8)]) + part[3:]
    return decode(out)


def _above(mounts: dict[int, MountPoint], number: int) -> list[int]:
    """Return the mounts that this one is on, from its parent upwards."""
    found: list[int] = []
    while number in mounts and mounts[number].parent not in found:
        number = mounts[number].parent
        found.append(number)
    return found


def _full_outside(mounts: dict[int, MountPoint], own: int) -> list[int]:
    """Return every full procfs and sysfs outside the root, topmost first."""
    depths = {}
    for number, mount in mounts.items():
        if mount.full:
            above = _above(mounts, number)
            if own not in above and own != number:
                depths[number] = len(above)
    return sorted(depths, key=depths.__getitem__, reverse=True)


def _hide(mounts: dict[int, MountPoint], number: int) -> None:
    """Unmount one, with everything on it or in the way, or make sure that it is covered. Raises Error, OSError."""
    above = _above(mounts, number)
    while True:
        fd = _open(mounts[number].point)
        try:
            there = _kernel.mount_id(fd, "", AT_EMPTY_PATH)
            if there in above:
                return  # the mount is gone: the host has unmounted it, and ours is a slave
            if _unmount(mounts, there):
                if there == number:
                    return
                continue
            if there == number:
                _cover(mounts, number, fd)
                return
        finally:
            posix.close(fd)
        if number in _above(mounts, there):
            return  # a mount on it covers it, as ours would
        what = f"cannot hide the host's {mounts[number].point}: another mount is in the way"
        raise Error(what, hint="omit --no-pivot")


def _open(point: str) -> int:
    """Open this path as far as it goes: it ends early where another mount covers it."""
    while True:
        try:
            return _kernel.openat2(AT_FDCWD, point or "/", O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
        point = point.rpartition("/")[0]


def _unmount(mounts: dict[int, MountPoint], number: int) -> bool:
    """Unmount what _open found, with everything below it. False if it is locked, or would be unmounted on the host."""
    mount = mounts.get(number)
    if mount is None or mount.cover:
        return False
    _kernel.mount_setattr(AT_FDCWD, mount.point, AT_RECURSIVE, 0, 0, MS_SLAVE, -1)
    if mounts[mount.parent].shared:
        return False
    try:
        _kernel.umount2(mount.point, MNT_DETACH)
    except OSError as error:
        if error.errno != errno.EINVAL:  # locked (mount_namespaces(7))
            raise
        return False
    return True


def _cover(mounts: dict[int, MountPoint], number: int, fd: int) -> None:
    """Cover it with a tmpfs that has no room for a file."""
    tree = make_filesystem("tmpfs", "tmpfs", MOUNT_ATTR_RDONLY, (), ("nr_inodes=1", "mode=555"), "")
    mounts[_kernel.mount_id(tree, "", AT_EMPTY_PATH)] = MountPoint(number, mounts[number].point, cover=True)
    attach(tree, posix.dup(fd))
    posix.close(tree)

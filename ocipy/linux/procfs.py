"""A private procfs, which has none of a container's mounts on it, and from which no path leads out.

If a container's mount or symbolic link redirects a write to /proc/self/attr/exec, the label is not set, or the write
triggers something else (CVE-2019-16884, CVE-2025-52881). That the file is on *a* procfs proves nothing. So all reads
and writes below /proc go through a mount that is not attached anywhere. proc(5), fsopen(2), openat2(2).
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_WRONLY,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
)

ROOT_INODE = 1
INSIDE = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS
RESTRICTED = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


def open_private(*, subset_pid: bool) -> int:
    """Return a descriptor of the root of a procfs that nobody else sees, for the caller's pid namespace.

    subset_pid: only processes, without /proc/sys and everything else, so that a leak does little harm. If a new procfs
    is not allowed (in a user namespace whose /proc is not fully visible), this is a clone of /proc without the mounts
    on it, or else /proc itself. Raises Error if there is no procfs at all.
    """
    fd = _new(subset_pid)
    if fd < 0:
        fd = _clone()
    if fd < 0:
        fd = posix.open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    if _kernel.fstatfs(fd)[0] != PROC_SUPER_MAGIC or not is_root(fd):
        posix.close(fd)
        raise Error("there is no usable procfs", pointer="/proc", hint="mount one: mount -t proc proc /proc")
    return fd


def _new(subset_pid: bool) -> int:
    filesystem = -1
    try:
        filesystem = _kernel.fsopen("proc", FSOPEN_CLOEXEC)
        if subset_pid:
            # Neither we nor anybody who gets hold of this needs to see processes that we may not ptrace.
            _kernel.fsconfig(filesystem, FSCONFIG_SET_STRING, "hidepid", "ptraceable", 0)
            _kernel.fsconfig(filesystem, FSCONFIG_SET_STRING, "subset", "pid", 0)
        _kernel.fsconfig(filesystem, FSCONFIG_CMD_CREATE, None, None, 0)
        return _kernel.fsmount(filesystem, FSMOUNT_CLOEXEC, RESTRICTED)
    except OSError:
        return -1
    finally:
        if filesystem >= 0:
            posix.close(filesystem)


def _clone() -> int:
    """Clone /proc; without AT_RECURSIVE, the mounts on it are left out. EINVAL if they are locked:
    mount_namespaces(7)."""
    try:
        return _kernel.open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW)
    except OSError:
        return -1


def open_own(root: int) -> int:
    """Return the caller's own directory in a procfs, given its root. Raises OSError.

    reopen and the functions below it take this directory. They need no more of a procfs, and a process should not hold
    more if others can reach its descriptors.
    """
    return posix.open("self", O_PATH | O_DIRECTORY | O_CLOEXEC, dir_fd=root)


def clone_of(pid: int) -> int:
    """Return a process's directory in /proc as a detached mount, which leads to no other process. Raises OSError.

    Clones /proc, not our own procfs: before Linux 6.15, only mounts attached in our mount namespace can be cloned.
    """
    tree = _kernel.open_tree(AT_FDCWD, f"/proc/{pid}", OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW)
    if _kernel.fstatfs(tree)[0] != PROC_SUPER_MAGIC:
        posix.close(tree)
        raise Error("there is no usable procfs", pointer="/proc", hint="mount one: mount -t proc proc /proc")
    return tree


def is_root(proc: int) -> bool:
    """Whether a descriptor refers to the root of a procfs."""
    return posix.stat(proc).st_ino == ROOT_INODE


def open_file(proc: int, path: str, flags: int) -> int:
    """Open a file below a directory in the procfs, never through a magic link or a mount. Raises OSError."""
    return _kernel.openat2(proc, path, flags | O_CLOEXEC | O_NOFOLLOW, 0, INSIDE)


def read(proc: int, path: str, limit: int = 1 << 20) -> bytes:
    """Return the content of a file, up to limit bytes. Raises OSError."""
    fd = open_file(proc, path, O_RDONLY)
    try:
        parts = []
        while limit > 0:
            part = posix.read(fd, min(limit, 65536))
            if not part:
                break
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        posix.close(fd)


def write(proc: int, path: str, data: bytes) -> None:
    """Write a file in one write(2), as procfs requires. Raises OSError; EIO for a short write."""
    fd = open_file(proc, path, O_WRONLY)
    try:
        if posix.write(fd, data) != len(data):
            raise OSError(errno.EIO, posix.strerror(errno.EIO))
    finally:
        posix.close(fd)


def reopen(proc: int, fd: int, flags: int) -> int:
    """Open the file of a descriptor (usually O_PATH) again, with other flags. Raises OSError.

    proc: as open_own returns it. Uses the magic link fd/N, after checking by mount ids that nothing is mounted on it.
    """
    _check_link(proc, fd)
    return posix.open(f"fd/{fd}", flags | O_CLOEXEC, dir_fd=proc)


def change_mode(proc: int, fd: int, mode: int) -> None:
    """Change the mode of an O_PATH descriptor's file, which fchmod(2) refuses. Raises OSError."""
    _check_link(proc, fd)
    posix.chmod(f"fd/{fd}", mode, dir_fd=proc)


def path_of(proc: int, fd: int) -> str:
    """Return the current path of a descriptor's file in our mount namespace, as the kernel gives it. Raises OSError."""
    _check_link(proc, fd)
    return posix.readlink(f"fd/{fd}", dir_fd=proc)


def _check_link(proc: int, fd: int) -> None:
    if _kernel.mount_id(proc, f"fd/{fd}", AT_SYMLINK_NOFOLLOW) != _kernel.mount_id(proc, "", AT_EMPTY_PATH):
        raise Error("something is mounted over /proc/self/fd")

"""process.terminal and process.consoleSize: a pseudoterminal of the container's own devpts (pty(7), ioctl_tty(2)).

Everything is used by descriptor: by the time that /dev/pts/N is bound on /dev/console, the name may refer to anything
(CVE-2025-52565), and so may /dev/ptmx.
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, reported_as
from ocipy.init import paths
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    DEVPTS_SUPER_MAGIC,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOCTTY,
    O_NOFOLLOW,
    O_PATH,
    O_RDWR,
    O_WRONLY,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    S_IFCHR,
    S_IFMT,
    S_IFREG,
)
from ocipy.plan.terminal import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# fs/devpts/inode.c: the multiplexer of each instance has inode 2, and is char 5:2 (devices.txt).
PTMX_INODE = 2
PTMX_DEVICE = (5, 2)


@carries_out(Console)
def console(init: Init, step: Console) -> None:
    """Make the terminal, send its master to the host, and make the other side the standard streams.

    rows, columns: 0 keeps the kernel's default. uid: the user of the process, who becomes the owner. bind: also mount
    it on /dev/console. controlling: make it our session's controlling terminal; otherwise a later process does that.
    """
    master = _open_master(init)
    try:
        _kernel.pty_unlock(master)
        name = f"/dev/pts/{_kernel.pty_number(master)}"
        peer = _kernel.pty_peer(master, O_RDWR | O_NOCTTY | O_CLOEXEC)
        if step.rows and step.columns:
            _kernel.tty_set_size(master, step.rows, step.columns)
        _give(peer, step.uid)
        if step.bind:
            _bind_console(init, peer)
        init.channel.send("console", {"name": name}, master)
    finally:
        posix.close(master)
    for fd in (0, 1, 2):
        posix.dup2(peer, fd)
    posix.close(peer)
    if step.controlling:
        _kernel.tty_set_controlling(0)


def _open_master(init: Init) -> int:
    """Open the master of a new pseudoterminal, in the devpts mounted in the container."""
    try:
        directory = paths.open_below(init.rootfs, "/dev/pts", O_PATH | O_DIRECTORY)
    except OSError as error:
        raise _no_devpts(error.errno or 0) from None
    try:
        with reported_as(
            "cannot open /dev/pts/ptmx in the container",
            hint={
                errno.ENOSPC: "the limit in /proc/sys/kernel/pty/max has been reached",
                errno.EXDEV: "something is mounted on /dev/pts/ptmx",
            },
        ):
            if _kernel.fstatfs(directory)[0] != DEVPTS_SUPER_MAGIC:
                raise _no_devpts(0)
            # Resolved beneath, without crossing mounts: so this is the devpts's own file, and safe to open.
            master = _kernel.openat2(directory, "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC, 0, paths.CHILD)
    finally:
        posix.close(directory)
    status = posix.fstat(master)
    device = (posix.major(status.st_rdev), posix.minor(status.st_rdev))
    if status.st_mode & S_IFMT != S_IFCHR or status.st_ino != PTMX_INODE or device != PTMX_DEVICE:
        posix.close(master)
        raise Error("/dev/pts/ptmx in the container is not the pseudoterminal multiplexer")
    return master


def _no_devpts(number: int) -> Error:
    return Error(
        "the container's terminal needs a devpts on /dev/pts",
        errno=number,
        hint='add {"destination": "/dev/pts", "type": "devpts", "source": "devpts"} to mounts',
    )


def _give(peer: int, uid: int) -> None:
    try:
        posix.fchown(peer, uid, -1)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise


def _bind_console(init: Init, peer: int) -> None:
    """Mount the terminal on /dev/console: a file, made if it is missing, never a link."""
    with reported_as("cannot open /dev in the container"):
        directory = paths.open_below(init.rootfs, "/dev", O_PATH | O_DIRECTORY)
    target = tree = -1
    try:
        with reported_as("cannot mount the terminal on /dev/console in the container"):
            try:
                posix.close(
                    posix.open("console", O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0o600, dir_fd=directory)
                )
            except FileExistsError:
                pass
            target = posix.open("console", O_PATH | O_NOFOLLOW | O_CLOEXEC, dir_fd=directory)
            if posix.fstat(target).st_mode & S_IFMT not in (S_IFREG, S_IFCHR):
                raise Error("/dev/console in the container is neither a file nor a terminal")
            tree = _kernel.open_tree(peer, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
            _kernel.move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
    finally:
        for fd in (directory, target, tree):
            if fd >= 0:
                posix.close(fd)

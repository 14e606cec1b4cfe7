"""The steps that mount: each mount is made detached, gets its attributes, and is attached to the target's descriptor.

So a read-only mount is never writable, not even briefly, and no path is walked twice (open_tree(2), fsopen(2),
mount_setattr(2), move_mount(2)). Targets are opened, or made, inside the container's root.
"""

from __future__ import annotations

import errno
import posix
from time import sleep

from ocipy.errors import Error, caused_by, reported_as
from ocipy.init import paths
from ocipy.init.context import carries_out
from ocipy.init.copy_up import copy_content
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_REC,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    S_IFDIR,
    S_IFMT,
)
from ocipy.linux.paths import ALLOWED_IN_PROC, clean
from ocipy.plan.mount_options import MountStep, NewMount
from ocipy.plan.mounts import Bind, CopySymlink, Mount, RemountReadonly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.init.context import Init

# What an errno means when a new filesystem gives no message.
MOUNT_CAUSES = {
    errno.EINVAL: "an option is missing or conflicts with another; the kernel's log (dmesg) may name it",
    errno.ENODEV: "this kernel does not have this filesystem; /proc/filesystems lists those it has",
    errno.ENOENT: "the source, or a file that an option names, is missing",
    errno.EPERM: "a user namespace may mount only some filesystems, and proc and sysfs only if it sees one uncovered",
}
NO_SOURCE = "the source does not exist on the host; create it or remove the mount"
# What an errno means when we copy one mount, and a tree of mounts.
NO_MOUNT = {
    errno.ENOENT: NO_SOURCE,
    errno.EINVAL: "a user namespace must bind the mounts in it as well (try rbind), or the source is unbindable",
}
NO_TREE = {errno.ENOENT: NO_SOURCE, errno.EINVAL: "the source is an unbindable mount"}
# Filesystems that must be where masked and readonly paths expect them.
ORDINARY = ("proc", "sysfs")
BUSY_TRIES = 5
BUSY_PAUSE = 0.1
BY_DESCRIPTORS = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
# The attributes of a mount that can only be read.
HARMLESS = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


@carries_out(Mount)
def mount(init: Init, step: Mount) -> None:
    """Mount a new filesystem."""
    target, data = open_new(init, step)
    label, relabel = (step.label, "") if step.fstype != "mqueue" else ("", step.label)
    try:
        tree = make_filesystem(step.fstype, step.source, step.attributes, step.superblock, data, label)
    except OSError as error:
        if step.fstype != "sysfs" or error.errno != errno.EPERM or not step.attributes & MOUNT_ATTR_RDONLY:
            raise cannot_mount(step.fstype, step.destination, error) from None
        tree = _host_sysfs()
    if step.copy_up:
        copy_content(target, tree, data)
    if relabel:
        # An IPC namespace has only one mqueue superblock, which takes no context. But its root can be labelled.
        _set_label(tree, relabel)
    finish(init, step, tree, target, step.late)


@carries_out(Bind)
def bind(init: Init, step: Bind) -> None:
    """Bind a file or directory of the host."""
    tree = init.fds.mounts.pop(step.pointer, -1) if step.opened else -1
    if tree < 0:
        tree = open_source(step.source, step.destination, step.recursive, step.source_nofollow)
    directory = posix.stat(tree).st_mode & S_IFMT == S_IFDIR
    if step.target_nofollow:
        target = _open_nofollow(init, step.destination)
    else:
        target = open_target(init, step.destination, "bind", directory, tree)
    set_attributes(tree, step.attr_set, step.attr_clear, step.attr_implicit, step.destination)
    finish(init, step, tree, target)


def open_source(source: str, destination: str, recursive: bool, nofollow: bool) -> int:
    """Return a detached copy of the mount, or the tree of mounts, at the source. For both lanes. Raises Error."""
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0) | (AT_SYMLINK_NOFOLLOW if nofollow else 0)
    with reported_as(f"cannot bind {source} on {destination}", hint=NO_TREE if recursive else NO_MOUNT):
        return _kernel.open_tree(AT_FDCWD, source, flags)


def set_attributes(tree: int, attr_set: int, attr_clear: int, attr_implicit: int, destination: str) -> None:
    """Set and clear attributes of a mount. Raises Error if one of them is locked, or OSError.

    attr_implicit: also to clear, unless they are locked (mount_namespaces(7)).
    """
    if not (attr_set or attr_clear or attr_implicit):
        return
    try:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, attr_set, attr_clear | attr_implicit, 0, -1)
        return
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    with reported_as(
        f"cannot change the flags of {destination}",
        hint="the source has ro, nosuid, nodev, noexec or an atime option, which a user namespace may not change",
    ):
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, attr_set, attr_clear, 0, -1)


@carries_out(CopySymlink)
def copy_symlink(init: Init, step: CopySymlink) -> None:
    """Copy the host's symlink instead of mounting anything (crun's copy-symlink). Bind anything but a symlink."""
    try:
        link = posix.readlink(step.source)
    except OSError:
        bind(init, step)
        return
    parent, name = paths.make_parent(init.rootfs, step.destination)
    try:
        posix.symlink(link, name, dir_fd=parent)
    except FileExistsError:
        try:
            same = posix.readlink(name, dir_fd=parent) == link
        except OSError:
            same = False
        if not same:
            raise Error(f"cannot make the symlink {step.destination}: something else is there") from None
    finally:
        posix.close(parent)


@carries_out(RemountReadonly)
def remount_readonly(init: Init, step: RemountReadonly) -> None:
    """Make a mount read-only that earlier steps needed writable. Its descriptor was kept, so this is the same mount."""
    tree = init.late_mounts.pop(step.pointer)
    for left in range(BUSY_TRIES - 1, -1, -1):
        try:
            _kernel.mount_setattr(tree, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1)
            break
        except OSError as error:
            if error.errno != errno.EBUSY or not left:
                raise
            sleep(BUSY_PAUSE)
    posix.close(tree)


def make_filesystem(
    fstype: str, source: str, attributes: int, superblock: Sequence[str], data: Sequence[str], label: str
) -> int:
    """Return a detached mount of a new filesystem. Raises OSError, or Error with the filesystem's message."""
    context = _kernel.fsopen(fstype, 0)
    try:
        if source:
            _kernel.fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0)
        for word in superblock:
            _kernel.fsconfig(context, FSCONFIG_SET_FLAG, word, None, 0)
        for word in (*data, label) if label else data:
            key, equals, value = word.partition("=")
            try:
                if equals:
                    _kernel.fsconfig(context, FSCONFIG_SET_STRING, key, value, 0)
                else:
                    _kernel.fsconfig(context, FSCONFIG_SET_FLAG, key, None, 0)
            except OSError as error:
                raise caused_by(
                    error,
                    f"{fstype} does not accept the option {word}",
                    hint=_messages(context) or MOUNT_CAUSES.get(error.errno or 0, ""),
                ) from None
        try:
            _kernel.fsconfig(context, FSCONFIG_CMD_CREATE, None, None, 0)
        except OSError as error:
            error.add_note(_messages(context))
            raise
        return _kernel.fsmount(context, 0, attributes)
    finally:
        posix.close(context)


def _messages(context: int) -> str:
    """Return the filesystem's message without its level (fsopen(2)): "e tmpfs: Bad value" without "e "."""
    try:
        return posix.read(context, 1024).decode("utf-8", "replace").strip()[2:]
    except OSError:
        return ""


def cannot_mount(fstype: str, destination: str, error: OSError) -> Error:
    """Return the error for a filesystem that could not be mounted, with the likely cause."""
    hint = "".join(getattr(error, "__notes__", ())) or MOUNT_CAUSES.get(error.errno or 0, "")
    return caused_by(error, f"cannot mount {fstype} on {destination}", hint=hint)


def _host_sysfs() -> int:
    """Return a copy of the host's /sys: only the user namespace that owns the network namespace may make a new sysfs.

    Everything in it is read-only, including the cgroups mounted below (CVE-2023-25809).
    """
    tree = _kernel.open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | AT_RECURSIVE)
    _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, HARMLESS, 0, 0, -1)
    return tree


def open_target(init: Init, destination: str, fstype: str, directory: bool = True, tree: int = -1) -> int:
    """Return an O_PATH descriptor of the mount's target, making it if it is missing. Raises Error.

    tree: the mount to attach, which decides whether it may be on /proc.
    """
    return _open_or_make(init, destination, fstype, directory, tree)[0]


def _open_or_make(init: Init, destination: str, fstype: str, directory: bool, tree: int) -> tuple[int, bool]:
    """Return (the descriptor of open_target, whether the target was missing)."""
    try:
        target, made = paths.make(init.rootfs, destination, directory=directory, follow=False)
        inside = clean(destination)  # no symlink leads it elsewhere
    except OSError as error:
        if error.errno != errno.ELOOP and not (error.errno == errno.ENOTDIR and fstype in ORDINARY):
            raise _no_target(destination, error) from None
        target, made = _follow(init, destination, fstype, directory)
        inside = _path_inside(init, target)
    _check_place(destination, inside, fstype, tree)
    fits = made or paths.is_directory(target) == directory
    if fstype in ORDINARY and (destination == "/" or not fits):
        raise _not_ordinary(destination, fstype)
    if not fits:
        source, there = ("a directory", "a file") if directory else ("a file", "a directory")
        raise Error(f"cannot mount {source} on {destination}, which is {there}")
    return target, made


def _follow(init: Init, destination: str, fstype: str, directory: bool) -> tuple[int, bool]:
    """Open or make a target whose path contains symlinks. Return (its descriptor, whether it was missing)."""
    try:
        if fstype not in ORDINARY:
            return paths.make(init.rootfs, destination, directory=directory)
        return paths.make_plain_directory(init.rootfs, destination), False
    except OSError as error:
        raise _no_target(destination, error) from None
    except Error:
        if fstype not in ORDINARY:
            raise
        raise _not_ordinary(destination, fstype) from None


def _not_ordinary(destination: str, fstype: str) -> Error:
    return Error(
        f'filesystem "{fstype}" must be mounted on ordinary directory, which {destination} is not',
        hint="the image has a symlink or a file there",
    )


def _no_target(destination: str, error: OSError) -> Error:
    return caused_by(error, f"cannot make the mount point {destination}", hint=_target_hint)


def _target_hint(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "the root filesystem, or a mount above it, is read-only; create the directory beforehand"
    if error.errno == errno.ELOOP:
        return "the image has a symlink there that points to itself, or into /proc"
    if error.errno == errno.EACCES:
        return "root in the container may not access that directory; see linux.uidMappings"
    return ""


def _path_inside(init: Init, target: int) -> str:
    """Return a target's path as the container sees it; the root's is "" or "/"."""
    return procfs.path_of(init.proc, target).removeprefix(init.root_path.rstrip("/"))


def _check_place(destination: str, inside: str, fstype: str, tree: int) -> None:
    """Refuse places that a symlink may have led to: the root itself, and /proc except for the allowed files there.

    inside: the target's path as the container sees it. A mount that is meant for the root has the destination "/";
    plan/mounts.py has checked it.
    """
    if destination == "/":
        return
    if inside in ("", "/"):
        raise Error(f"{destination} leads to the container's root, where nothing may be mounted")
    if inside == "/proc" and fstype != "proc" and not _is_procfs_root(tree):
        raise Error(f"{destination} leads to /proc, where only a procfs can be mounted")
    if inside.startswith("/proc/") and inside not in ALLOWED_IN_PROC:
        raise Error(f"{destination} cannot be mounted because it is inside /proc")


def _is_procfs_root(tree: int) -> bool:
    return tree >= 0 and _kernel.fstatfs(tree)[0] == PROC_SUPER_MAGIC and posix.stat(tree).st_ino == procfs.ROOT_INODE


def _open_nofollow(init: Init, destination: str) -> int:
    """Open the existing target for crun's dest-nofollow, even if it is itself a symlink."""
    parent_path, name = paths.split(destination)
    with reported_as(f"cannot open the mount point {destination}"):
        parent = paths.open_below(init.rootfs, parent_path, O_PATH | O_DIRECTORY)
        target = posix.open(name, O_PATH | O_NOFOLLOW, dir_fd=parent)
        posix.close(parent)
    _check_place(destination, _path_inside(init, target), "", -1)
    return target


def finish(init: Init, step: MountStep, tree: int, target: int, late: bool = False) -> None:
    """Set the recursive attributes of a detached mount, attach it, and close the target, and the tree unless late."""
    set_recursive(tree, step.recursive_set, step.recursive_clear)
    attach(tree, target)
    if step.destination == "/":
        # It covers the root: the old root descriptor refers to what is below.
        posix.close(init.rootfs)
        init.rootfs = _kernel.openat2(tree, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0)
    finish_attached(init, step, tree, late)


def attach(tree: int, target: int) -> None:
    """Attach a detached mount and close the target."""
    _kernel.move_mount(tree, "", target, "", BY_DESCRIPTORS)
    posix.close(target)


def finish_attached(init: Init, step: MountStep, tree: int, late: bool = False) -> None:
    """Set the propagation of an attached mount and close it, or keep it for remount_readonly if late."""
    # Only after attaching, since a mount attached below a shared one becomes shared (mount_namespaces(7)).
    for flag in step.propagation:
        recursive = AT_RECURSIVE if flag & MS_REC else 0
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | recursive, 0, 0, flag & ~MS_REC, -1)
    if late:
        init.late_mounts[step.pointer] = tree
    else:
        posix.close(tree)


def set_recursive(tree: int, attr_set: int, attr_clear: int) -> None:
    """Set and clear attributes of every mount in a tree."""
    if attr_set or attr_clear:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set, attr_clear, 0, -1)


def open_new(init: Init, step: NewMount) -> tuple[int, Sequence[str]]:
    """Open the target for a new filesystem. Return (target, the filesystem's data). Raises Error.

    Like runc and crun, give a tmpfs the mode of the directory that it covers, unless the options give one. If the
    directory did not exist, the tmpfs gets the kernel's default, 1777 (tmpfs(5)).
    """
    target, made = _open_or_make(init, step.destination, step.fstype, directory=True, tree=-1)
    if made or step.fstype != "tmpfs":
        return target, step.data
    return target, _with_mode(step.data, target)


def _with_mode(data: Sequence[str], target: int) -> Sequence[str]:
    if any(word.startswith("mode=") or ",mode=" in word for word in data):
        return data
    return (*data, f"mode={posix.stat(target).st_mode & 0o7777:o}")


def _set_label(tree: int, label: str) -> None:
    directory = posix.open(".", O_RDONLY | O_DIRECTORY, dir_fd=tree)
    posix.setxattr(directory, "security.selinux", label.partition("=")[2].encode())
    posix.close(directory)

"""The steps that fill /dev: make nodes by mknod(2), or bind the host's if that is refused, and make symlinks.

Everything goes by descriptors inside the root: an image's /dev may be a symlink to anywhere (CVE-2026-41579,
CVE-2026-47766).
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, caused_by, reported_as
from ocipy.init import paths
from ocipy.init.context import carries_out
from ocipy.init.mounts import attach
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    O_CREAT,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_WRONLY,
    OPEN_TREE_CLONE,
    S_IFBLK,
    S_IFCHR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
)
from ocipy.plan.devices import Device, DeviceLinks, ExistingDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init
    from ocipy.plan.devices import NodeStep

KINDS = {"b": S_IFBLK, "c": S_IFCHR, "p": S_IFIFO}

# runtime-linux.md, "Dev symbolic links".
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
PTMX = "pts/ptmx"


@carries_out(Device)
def device(init: Init, step: Device) -> None:
    """Make one node, or bind one. An existing file must be that device, and stays unchanged (config-linux.md, Devices).

    name: key in Descriptors.devices of the node that the host made for this, "" if it made none. bind: if there is no
    such node, bind the host's own instead of making one. asked: the config gives a mode or an owner; warn if the host's
    own node has a different one.
    """
    place, name = paths.parent_and_name(step.path)
    parent = _directory(init, place)
    made = init.fds.devices.pop(step.name, -1) if step.name else -1
    try:
        if made >= 0:
            _bind_node(parent, name, step, made)
        elif step.bind or not _make_node(init, parent, name, step):
            tree = _open_own(step)
            if step.asked:
                _compare(init, tree, step)
            _bind_node(parent, name, step, tree)
    except OSError as error:
        raise caused_by(error, f"cannot make the device {step.path}") from None


def _directory(init: Init, path: str) -> int:
    """Return the directory for a node. It stays open for the next node, which is usually in the same one: meanwhile
    nothing is mounted on it."""
    if init.device_parent != path:
        if init.device_parent is not None:
            init.device_parent = None
            posix.close(init.device_directory)
        init.device_directory = paths.make_directory(init.rootfs, path)
        init.device_parent = path
    return init.device_directory


def _make_node(init: Init, parent: int, name: str, step: Device) -> bool:
    """Return False if mknod is refused here."""
    made = True
    try:
        mode = KINDS[step.kind] | step.mode & 0o777
        posix.mknod(name, mode, posix.makedev(step.major, step.minor), dir_fd=parent)
    except FileExistsError:
        made = False
    except PermissionError:
        return False
    node = posix.open(name, O_PATH | O_NOFOLLOW, dir_fd=parent)
    try:
        status = posix.stat(node)
        if not _is_device(status, step):
            raise Error(f"{step.path} exists and is not the device {describe(step)}")
        # Usually mknod has given it both: our umask is 0.
        if made and (status.st_mode & 0o7777, status.st_uid, status.st_gid) != (step.mode, step.uid, step.gid):
            _kernel.fchownat(node, "", step.uid, step.gid, AT_EMPTY_PATH)
            procfs.change_mode(init.proc, node, step.mode)
    finally:
        posix.close(node)
    return True


def _open_own(step: Device) -> int:
    """Return a detached mount of the host's node at this path, after verifying it. Raises Error."""
    with reported_as(
        f"cannot bind the host's {step.path}",
        hint={errno.ENOENT: "only devices of the host can be bound here, and the host lacks this one"},
    ):
        tree = _kernel.open_tree(AT_FDCWD, step.path, OPEN_TREE_CLONE)
    if not _is_device(posix.stat(tree), step):
        raise Error(f"{step.path} on the host is not the device {describe(step)}")
    return tree


def _compare(init: Init, tree: int, step: Device) -> None:
    """Warn where the host's node differs from the config. runc and crun bind it without a warning."""
    status, owner = posix.stat(tree), (step.uid, step.gid)
    told = f"{step.path} is bound from the host, where its"
    if status.st_mode & 0o7777 != step.mode:
        init.warn(f"{told} mode is {status.st_mode & 0o7777:04o}, not {step.mode:04o}")
    # Owner 0 in the container means the host's owner as well: engines copy the ids they find on the host.
    if any(owner) and (status.st_uid, status.st_gid) != owner:
        init.warn(f"{told} owner is not {step.uid}:{step.gid}")


def _bind_node(parent: int, name: str, step: Device, source: int) -> None:
    """Bind a node, given as a detached mount, onto an empty file, which an earlier create may have left."""
    try:
        posix.close(posix.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644, dir_fd=parent))
    except FileExistsError:
        pass
    target = posix.open(name, O_PATH | O_NOFOLLOW, dir_fd=parent)
    status = posix.stat(target)
    empty = status.st_mode & S_IFMT == S_IFREG and status.st_size == 0
    if not empty and not _is_device(status, step):
        raise Error(f"{step.path} exists and is not the device {describe(step)}")
    attach(source, target)
    posix.close(source)


@carries_out(ExistingDevice)
def existing_device(init: Init, step: ExistingDevice) -> None:
    """Warn if the device is missing. /dev is bound from the host, so no nodes are made in it."""
    try:
        node = paths.open_below(init.rootfs, step.path)
        found = _is_device(posix.stat(node), step)
        posix.close(node)
    except OSError:
        found = False
    if not found:
        init.warn(f"{step.path}: /dev is bound from the host, where this is not the device {describe(step)}")


def _is_device(status: posix.stat_result, step: NodeStep) -> bool:
    if status.st_mode & S_IFMT != KINDS[step.kind]:
        return False
    return step.kind == "p" or status.st_rdev == posix.makedev(step.major, step.minor)


def describe(step: NodeStep) -> str:
    """Return for example "c 1:3", the form of the cgroup's device list."""
    return "fifo" if step.kind == "p" else f"{step.kind} {step.major}:{step.minor}"


@carries_out(DeviceLinks)
def device_links(init: Init, step: DeviceLinks) -> None:
    """Make the symlinks in /dev whose targets exist after the mounts, and in any case the container's own ptmx."""
    dev = _directory(init, "dev")
    if _exists(init, "proc/self/fd"):
        for name, target in LINKS:
            _link(dev, name, target)
    if _exists(init, "proc/kcore"):
        _link(dev, "core", "/proc/kcore")
    _make_ptmx(dev)
    posix.close(dev)
    init.device_parent = None


def _exists(init: Init, path: str) -> bool:
    try:
        posix.close(paths.open_below(init.rootfs, path))
        return True
    except OSError:
        return False


def _link(dev: int, name: str, target: str) -> bool:
    """Return False if something has that name."""
    try:
        posix.symlink(target, name, dir_fd=dev)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return False
        raise caused_by(error, f"cannot make /dev/{name}") from None
    return True


def _make_ptmx(dev: int) -> None:
    """Make /dev/ptmx a link to pts/ptmx: a node would open the host's terminals (config-linux.md, Default Devices)."""
    if _link(dev, "ptmx", PTMX):
        return
    try:
        if posix.readlink("ptmx", dir_fd=dev) == PTMX:
            return
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise
    with reported_as("cannot replace /dev/ptmx"):
        try:
            posix.unlink("ptmx", dir_fd=dev)
        except FileNotFoundError:
            pass
    _link(dev, "ptmx", PTMX)

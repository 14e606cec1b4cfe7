"""Device nodes for a container whose user namespace may not make any (mknod(2)): the host makes them, init binds them.

They are on a tmpfs that is attached nowhere on the host, so nobody can find them, and they disappear with their last
mount. Init gets a detached mount of each node.
"""

from __future__ import annotations

import errno
import posix

from ocipy import log
from ocipy.errors import Error, caused_by
from ocipy.host.context import carries_out
from ocipy.init.devices import KINDS
from ocipy.init.mounts import make_filesystem
from ocipy.linux import _kernel, procfs
from ocipy.linux.channel import Channel, Closed, pair
from ocipy.linux.constants import (
    AT_FDCWD,
    AT_RECURSIVE,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLONE_PIDFD,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_PRIVATE,
    OPEN_TREE_CLONE,
    SIGCHLD,
)
from ocipy.linux.text import lines_of, words_of
from ocipy.plan.devices import DeviceFilesystem, DeviceMounts, DeviceNode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.host.context import HostRun

    Triples = Sequence[tuple[int, int, int]]


@carries_out(DeviceFilesystem)
def device_filesystem(run: HostRun, step: DeviceFilesystem) -> None:
    """Make a tmpfs with room for this many nodes. joined: the user namespace already exists: read its id maps."""
    data = ("mode=755", f"nr_inodes={step.nodes + 1}", "nr_blocks=1")
    run.device_directory = make_filesystem(
        "tmpfs", "devices", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, (), data, step.label
    )
    if step.joined:
        run.device_maps = _maps_of(run, run.fds.namespaces["user"])


@carries_out(DeviceNode)
def device_node(run: HostRun, step: DeviceNode) -> None:
    """Make one node. uid, gid: on the host, or inside a joined user namespace."""
    directory, uid, gid = run.device_directory, step.uid, step.gid
    if run.device_maps is not None:
        uids, gids = run.device_maps
        uid, gid = _mapped(uid, uids, step.path), _mapped(gid, gids, step.path)
    try:
        posix.mknod(step.name, KINDS[step.kind] | 0o600, posix.makedev(step.major, step.minor), dir_fd=directory)
    except PermissionError:
        return  # we may not make nodes either: init binds the host's own
    _kernel.fchownat(directory, step.name, uid, gid, 0)
    posix.chmod(step.name, step.mode, dir_fd=directory)


@carries_out(DeviceMounts)
def device_mounts(run: HostRun, step: DeviceMounts) -> None:
    """Make a detached mount of each node."""
    directory, run.device_directory = run.device_directory, -1
    made = [name for name in step.names if _is_there(directory, name)]
    try:
        mounts = [_kernel.open_tree(directory, name, OPEN_TREE_CLONE) for name in made]
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Before Linux 6.15 only attached mounts can be copied.
        mounts = _mounts_by_child(directory, made)
    run.fds.devices.update(zip(made, mounts, strict=True))
    posix.close(directory)


def _is_there(directory: int, name: str) -> bool:
    try:
        posix.stat(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def _mounts_by_child(directory: int, names: Sequence[str]) -> list[int]:
    """Have a child attach the filesystem in a new mount namespace, and make the mounts there. Raises Error."""
    ours, theirs = pair()
    pid, pidfd = _kernel.clone3(CLONE_NEWNS | CLONE_PIDFD, SIGCHLD, -1)
    if pid == 0:
        try:
            _send_mounts(theirs, directory, names)
        finally:
            posix._exit(0)
    posix.close(pidfd)
    posix.close(theirs.fd)
    mounts: list[int] = []
    try:
        for _ in names:
            kind, body, fds = ours.receive(max_fds=1)
            if kind == "error":
                raise Error.from_message(body)
            mounts += fds
    finally:
        posix.close(ours.fd)
        posix.waitpid(pid, 0)
    return mounts


def _send_mounts(channel: Channel, directory: int, names: Sequence[str]) -> None:
    try:
        _kernel.mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_PRIVATE, -1)
        _kernel.move_mount(directory, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)
        for name in names:
            channel.send("mount", fd=_kernel.open_tree(directory, name, OPEN_TREE_CLONE))
    except OSError as error:
        channel.send("error", caused_by(error, "cannot mount the devices").to_message())


def _maps_of(run: HostRun, namespace: int) -> tuple[Triples, Triples]:
    """Return the id maps of a user namespace as seen from here, read from a process in it. Raises Error."""
    ours, theirs = pair()
    pid, pidfd = _kernel.clone3(CLONE_PIDFD, SIGCHLD, -1)
    if pid == 0:
        try:
            posix.close(ours.fd)
            _kernel.setns(namespace, CLONE_NEWUSER)
            theirs.send("joined")
            theirs.receive()  # until end of file: the maps have been read, or the runtime is dead
        finally:
            posix._exit(0)
    posix.close(pidfd)
    posix.close(theirs.fd)
    try:
        ours.receive()
        uids, gids = (_triples(procfs.read(run.fds.procfs, f"{pid}/{name}")) for name in ("uid_map", "gid_map"))
    except Closed:
        raise Error("cannot enter the user namespace to read its id maps") from None
    finally:
        posix.close(ours.fd)
        posix.waitpid(pid, 0)
    return uids, gids


def _triples(text: bytes) -> Triples:
    """Return (inside, outside, size) for each line of a uid_map or gid_map (user_namespaces(7))."""
    lines = [words_of(line) for line in lines_of(text)]
    return [(int(inside), int(outside), int(size)) for inside, outside, size in lines]


def _mapped(number: int, triples: Triples, path: str) -> int:
    """Return the id on the host. If the namespace does not map it, warn and return 0."""
    for inside, outside, size in triples:
        if inside <= number < inside + size:
            return outside + number - inside
    log.warning(f"{path}: the user namespace does not map the id {number} of its owner or group")
    return 0

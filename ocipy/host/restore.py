"""The steps of a restore: criu recreates the processes from the images (criu(8), restore). Cold.

criu requires the new root to be a mount whose parent is not covered. So it runs in a new mount namespace, in which the
root filesystem is bound onto a directory of the state. Nothing is mounted in the host's tree, and a killed restore
leaves no mounts behind.
"""

from __future__ import annotations

import errno
import os
import posix
from typing import TYPE_CHECKING

from ocipy import log
from ocipy.cgroups.layout import probe
from ocipy.children.once import in_child
from ocipy.criu import client, messages
from ocipy.criu.client import FIRST_FD, CriuSession
from ocipy.criu.directory import DESCRIPTORS, open_directory
from ocipy.criu.images import check_pages
from ocipy.errors import Error, reported_as
from ocipy.host.context import HostRun, carries_out
from ocipy.host.lane import record_process
from ocipy.init.context import Init
from ocipy.init.mounts import bind, copy_symlink, open_target, set_attributes, set_recursive
from ocipy.init.paths import open_below
from ocipy.init.rootfs import clone_root, open_rootfs_directory
from ocipy.linux import _kernel, procfs
from ocipy.linux.channel import Channel
from ocipy.linux.constants import (
    AT_FDCWD,
    CLONE_NEWNET,
    CLONE_NEWNS,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_PRIVATE,
    MS_REC,
    MS_SLAVE,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    SOCK_SEQPACKET,
)
from ocipy.linux.files import read_file, write_file
from ocipy.linux.text import decode, encode, lines_of
from ocipy.plan import checkpoint as plan
from ocipy.plan.masks import Mask
from ocipy.plan.mount_options import NewMount
from ocipy.plan.mounts import Bind, CopySymlink
from ocipy.plan.restore import (
    BeginRestore,
    RestoreCriu,
    Restored,
    RestoreJoin,
    RestoreLoopback,
    RestoreMountPoints,
    RestoreNamespaces,
    RestoreProcesses,
    lost_by,
)
from ocipy.plan.restore_request import RestoreFacts, restore_options
from ocipy.plan.rootfs import RootReadonly
from ocipy.state.state import FIFO_NEW, now, own_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.plan.checkpoint import CriuFlags
    from ocipy.plan.model import Step
    from ocipy.plan.restore_request import RestoreRequest

ROOT = "criu-root"
FAILED = "criu cannot restore the container"


def _program(run: HostRun) -> client.Criu:
    if run.criu is None:
        raise Error("internal error: criu has not been started yet")
    return run.criu


def _session(run: HostRun) -> CriuSession:
    return _program(run).session


@carries_out(BeginRestore)
def begin_restore(run: HostRun, step: BeginRestore) -> None:
    """Mark the container as being created, until `restored` undoes that. Make the directory to mount its root on."""
    write_file(run.state.directory + "/" + FIFO_NEW, b"")
    run.state.streams = own_streams()
    posix.mkdir(run.state.directory + "/" + ROOT, 0o700)


@carries_out(RestoreMountPoints)
def restore_mount_points(run: HostRun, step: RestoreMountPoints) -> None:
    """Make the missing mount points, as create does: criu only mounts on existing ones."""

    def make() -> bytes:
        made = _make_mount_points(run, step.mounts)
        return b"\0".join(encode(path) for pair in made.items() for path in pair)

    made = in_child("making the mount points", make, interrupts=run.interrupts)
    words = decode(made).split("\0") if made else []
    run.mount_points = dict(zip(words[::2], words[1::2], strict=True))


def root_of(run: HostRun) -> str:
    """Return the path of the mount that becomes the container's root, without symlinks, as criu requires."""
    return os.path.realpath(run.state.directory) + "/" + ROOT


def _make_mount_points(run: HostRun, mounts: Sequence[Bind | NewMount]) -> dict[str, str]:
    """Make them in a mount namespace that ends with this process. Return each destination's path in the root."""
    root = root_of(run)
    _own_mounts(run.state.rootfs, root)
    init = Init(channel=Channel(-1), fds=run.fds, state={})
    init.proc = procfs.open_own(run.fds.procfs)
    init.rootfs = posix.open(root, O_PATH | O_DIRECTORY | O_CLOEXEC)
    init.root_path = root
    places: dict[str, str] = {}
    filesystems: list[str] = []
    for step in mounts:
        destination = step.destination
        # A place on another filesystem is restored with it, or already exists.
        if any(destination.startswith(place + "/") for place in filesystems):
            continue
        try:
            with reported_as("cannot make the mount point", pointer=step.pointer):
                places[destination] = _make_mount_point(init, step)
        except Error as error:
            error.pointer = error.pointer or step.pointer
            raise
        if isinstance(step, NewMount):
            filesystems.append(destination)
    return places


def _make_mount_point(init: Init, step: Bind | NewMount) -> str:
    """Make one, and bind the source onto it if it may contain other mount points. Return its path in the root."""
    if isinstance(step, NewMount):
        target = open_target(init, step.destination, step.fstype)
    else:
        if isinstance(step, CopySymlink):
            copy_symlink(init, step)
        else:
            bind(init, step)
        target = open_below(init.rootfs, step.destination)
    place = procfs.path_of(init.proc, target).removeprefix(init.root_path)
    posix.close(target)
    return place or "/"


def _own_mounts(rootfs: str, place: str) -> None:
    """Make a mount namespace with the root filesystem bound onto place. Its mounts do not propagate to the host."""
    _kernel.unshare(CLONE_NEWNS)
    _kernel.mount(None, "/", None, MS_REC | MS_SLAVE, None)
    posix.close(open_rootfs_directory(rootfs))
    tree = clone_root(rootfs, MS_PRIVATE)
    _kernel.move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH)
    posix.close(tree)


@carries_out(RestoreCriu)
def restore_criu(run: HostRun, step: RestoreCriu) -> None:
    """Start criu in its mount namespace, with the descriptors of the joined namespaces and the container's streams.

    criu mounts below its image and work directories, which the kernel refuses if they were opened in another mount
    namespace (mount(2), EINVAL). So they are opened in criu's own, and then sent to us: criu expects its client to
    pass them.
    """
    check_pages(step.image_path)
    fds = [run.fds.namespaces[kind] for kind in step.kinds]
    ours, theirs = _kernel.socketpair(SOCK_SEQPACKET)

    def prepare() -> None:
        _own_mounts(run.state.rootfs, root_of(run))
        directories = [open_directory(step.image_path, "--image-path")]
        if step.work_path:
            directories.append(open_directory(step.work_path, "--work-path"))
        _kernel.send(theirs, b"directories", directories)

    try:
        run.criu = client.start(step.program, prepare=prepare, fds=fds, streams=True)
        _, run.criu_directories = _kernel.recv(ours, 64, 2)
        run.pid = run.criu.session.pid  # for the cgroup, until the container has a process
    finally:
        posix.close(ours)
        posix.close(theirs)


@carries_out(RestoreJoin)
def restore_join(run: HostRun, step: RestoreJoin) -> None:
    """Move criu into the cgroup: the restored processes are there from the beginning."""
    if run.cgroup is None:
        return
    with reported_as("cannot join the cgroup"):
        run.cgroup.join(run.pid)


@carries_out(RestoreNamespaces)
def restore_namespaces(run: HostRun, step: RestoreNamespaces) -> None:
    """Ask criu to restore, and continue once the namespaces exist, with a first process that is not running yet."""
    program = _program(run)
    program.learn(run.interrupts)
    for pointer, text in lost_by(program.version, step.request):
        log.warning(f"{pointer}: {text}")
    options = restore_options(step.request, _facts(run, step.request))
    options |= dict(zip(("images_dir_fd", "work_dir_fd"), run.criu_directories, strict=False))
    _session(run).send({"type": messages.RESTORE, "opts": options})
    _serve(run, step.request.flags, until="setup-namespaces")
    record_process(run)  # from here on delete must find a process


@carries_out(RestoreLoopback)
def restore_loopback(run: HostRun, step: RestoreLoopback) -> None:
    """Bring lo up, as init does at create."""
    _kernel.aside(lambda: _bring_up(run.pidfd))


def _bring_up(pidfd: int) -> None:
    with reported_as("cannot bring the loopback interface up"):
        _kernel.setns(pidfd, CLONE_NEWNET)
        _kernel.link_up("lo")


def _facts(run: HostRun, request: RestoreRequest) -> RestoreFacts:
    external = [kind for kind, _, _ in request.joined if kind in plan.EXTERNAL_NAMESPACES]
    hierarchies = {}
    if run.cgroup is not None:
        for name, point in probe().mounts.items():
            if name in run.cgroup.paths:
                hierarchies[os.path.basename(point)] = run.cgroup.paths[name]
    return RestoreFacts(
        version=_program(run).version,
        root=root_of(run),
        mount_points=run.mount_points,
        hierarchies=hierarchies,
        cgroup_roots=_cgroups_of(_session(run).pid),
        namespace_fds={kind: FIRST_FD + index for index, kind in enumerate(external)},
    )


def _cgroups_of(pid: int) -> list[tuple[str, str]]:
    """Return (controllers, path) of each hierarchy, from /proc/PID/cgroup (cgroups(7))."""
    lines = lines_of(decode(read_file(f"/proc/{pid}/cgroup")))
    return [(controllers, path) for _, controllers, path in (line.split(":", 2) for line in lines)]


@carries_out(RestoreProcesses)
def restore_processes(run: HostRun, step: RestoreProcesses) -> None:
    """Let criu finish the restore."""
    session = _session(run)
    session.send({"type": messages.NOTIFY, "notify_success": True})
    _serve(run, step.flags, step.mounts, until="")
    session.hang_up()
    while run.criu_directories:
        posix.close(run.criu_directories.pop())


def _serve(run: HostRun, flags: CriuFlags, mounts: Sequence[Bind | RootReadonly | Mask] = (), *, until: str) -> None:
    """Answer criu's notifications. Return before answering the one named until; if that is "", once criu is done.

    mounts: those whose attributes to restore once the processes exist.
    """
    session, path = _session(run), client.log_path(flags, plan.RESTORE_LOG)
    while True:
        try:
            response, fds = session.receive(run.interrupts)
        except client.NoAnswer as problem:
            raise client.failure(FAILED, {"cr_errmsg": problem.what}, path) from None
        if not response.get("success"):
            raise client.failure(FAILED, response, path)
        if response.get("type") != messages.NOTIFY:
            if until:
                raise Error(f"{FAILED}: it finished before its namespaces were set up (criu's log: {path})")
            return
        notify = response.get("notify", {})
        script = notify.get("script")
        _take_process(run, notify.get("pid", 0), script)
        if script == "post-restore":
            record_process(run)
            in_child("setting flags", lambda: _renew_attributes(run, mounts), interrupts=run.interrupts)
        _take_master(run, fds, script)
        if script == until:
            return
        session.send({"type": messages.NOTIFY, "notify_success": True})


def _take_process(run: HostRun, pid: int, script: str) -> None:
    """Adopt the first process, which criu has made our child (rst_sibling)."""
    if script in ("setup-namespaces", "post-restore") and pid > 0 and run.pidfd < 0:
        run.pidfd = _kernel.pidfd_open(pid, 0)
        run.pid = pid


def _renew_attributes(run: HostRun, mounts: Sequence[Bind | RootReadonly | Mask]) -> bytes:
    """Restore the attributes of the mounts that criu made for us, in the container's mount namespace.

    The processes exist, but are not running yet.
    """
    _kernel.setns(run.pidfd, CLONE_NEWNS)
    root = posix.open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)
    for step in mounts:
        if isinstance(step, Bind):
            _renew(root, step, step.destination, step.attr_set, step.attr_clear)
        elif isinstance(step, RootReadonly):
            _renew(root, step, "/", MOUNT_ATTR_RDONLY, 0)
        else:
            _renew(root, step, step.path, MOUNT_ATTR_RDONLY, 0)
    return b""


def _renew(root: int, step: Step, path: str, attr_set: int, attr_clear: int) -> None:
    """Set the attributes of a mount; skip a path that the container has unmounted or does not have."""
    try:
        target = open_below(root, path)
    except OSError:
        return
    try:
        set_attributes(target, attr_set, attr_clear, 0, path)
        if isinstance(step, Bind):
            set_recursive(target, step.recursive_set, step.recursive_clear)
    except (OSError, Error) as error:
        if error.errno != errno.EINVAL:
            raise Error(f"cannot set the flags of {path}", pointer=step.pointer, errno=error.errno or 0) from None
    finally:
        posix.close(target)


def _take_master(run: HostRun, fds: list[int], script: str) -> None:
    """Keep the terminal's master, which no process in the container holds: it goes to the console socket."""
    for fd in fds:
        if script == "orphan-pts-master" and run.master < 0 and posix.isatty(fd):
            run.master = fd
            run.master_name = f"/dev/pts/{_kernel.pty_number(fd)}"
        else:
            posix.close(fd)


@carries_out(Restored)
def restored(run: HostRun, step: Restored) -> None:
    """Record that the container is running."""
    run.state.created = now()
    record_process(run)
    posix.unlink(run.state.directory + "/" + FIFO_NEW)
    _session(run).finish()
    posix.rmdir(run.state.directory + "/" + ROOT)  # it is a mount point only in criu's mount namespace
    run.let_go()
    run.hang_up()


def read_descriptors(image_path: str) -> list[str]:
    """Return the names of the standard streams at create, from the images; [] if the images lack the file.

    Raises Error if the file is not one that we write.
    """
    path = f"{image_path}/{DESCRIPTORS}"
    try:
        found = _kernel.json_loads(read_file(path))
    except FileNotFoundError:
        return []
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found) or len(found) > 3:
        raise Error("the file is not what checkpoint writes", pointer=path)
    return found

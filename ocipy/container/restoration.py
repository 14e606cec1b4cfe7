"""restore: the plan of a restore, carried out to the end, or undone. As container/creation.py is for create. Cold."""

from __future__ import annotations

import posix

from ocipy import bundle, log
from ocipy.container import criu
from ocipy.container.checkpoint import open_directory, with_config_file
from ocipy.container.console import check_socket
from ocipy.container.context import HostRun
from ocipy.container.creation import undo
from ocipy.container.host_lane import carry_out
from ocipy.container.interrupts import catch
from ocipy.container.lifecycle import unlink
from ocipy.container.probe import describe_host
from ocipy.container.restore import Restoring, read_descriptors
from ocipy.container.state import CONFIG, State, check_id, executable_of, make_directory, now, write_file
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.plan import checkpoint as plan
from ocipy.plan import restore
from ocipy.plan.checkpoint import CriuFlags
from ocipy.plan.model import Options

INVENTORY = "inventory.img"


def restore_container(
    root: str,
    options: Options,
    flags: CriuFlags,
    *,
    criu_path: str = "",
    console_socket: str = "",
    pid_file: str = "",
    rootless: bool | None = None,
) -> tuple[HostRun, int]:
    """Restore a container from its images, with the bundle's config as it is now.

    options.bundle may be relative; it is made absolute. Returns the run and the lock of the container, which the caller
    closes. Raises Error, with nothing left behind: also where a signal ends it (container/interrupts.py).
    """
    check_id(options.container_id)
    plan.check_flags(flags)
    options.bundle, config = bundle.read(options.bundle, options.config)
    options.state_directory = root + "/" + options.container_id
    planned, made = restore.build(config, describe_host(rootless), options)
    process = config.get("process")
    check_socket(process is not None and bool(process.get("terminal")), console_socket)
    shared = Restoring(with_config_file(flags, config), criu.find(criu_path), made)
    _check_images(shared)
    if flags.work_path:
        posix.close(open_directory(flags.work_path, "--work-path", make=True))
    if flags.lazy_pages:
        shared.program.check_feature("lazy_pages", "--lazy-pages")
    for pointer, text in planned.warnings:
        log.warning(f"{pointer}: {text}")
    state = State(options.state_directory, options.container_id, options.bundle)
    state.rootfs = bundle.root_path(options.bundle, config)
    state.created = now()
    state.executable = executable_of("self")
    state.annotations = config.get("annotations") or {}
    state.streams = [posix.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]
    posix.umask(0o077)
    interrupts = catch()
    lock_fd = make_directory(root, options.container_id)
    if pid_file:
        # An engine takes a pid file for success, also an older one.
        unlink(pid_file)
        planned.on_host("pid_file", "", path=pid_file)
    run = HostRun(config, options, planned, state)
    run.console_socket = console_socket
    run.interrupts = interrupts
    run.keep["restoring"] = shared
    try:
        write_file(options.state_directory + "/" + CONFIG, _kernel.json_dumps(config))
        carry_out(run)
    except BaseException as error:
        if shared.session is not None:
            shared.session.end()
        undo(run)
        if pid_file:
            unlink(pid_file)
        posix.close(lock_fd)
        if isinstance(error, OSError):
            raise Error("cannot write the state", pointer=options.state_directory, errno=error.errno or 0) from None
        raise
    for fd in run.fds.values():
        posix.close(fd)
    run.fds.clear()
    return run, lock_fd


def _check_images(shared: Restoring) -> None:
    """See that there is a checkpoint, and read what is ours of it."""
    try:
        posix.stat(f"{shared.flags.image_path}/{INVENTORY}")
    except OSError as error:
        raise Error(
            f"there is no checkpoint in {shared.flags.image_path}",
            pointer="--image-path",
            errno=error.errno or 0,
            hint=f"`ocipy checkpoint` writes {INVENTORY} there, and more",
        ) from None
    shared.descriptors = read_descriptors(shared.flags.image_path)

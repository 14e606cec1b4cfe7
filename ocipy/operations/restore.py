"""restore: carry out the plan of a restore to the end, or undo it, as operations/create.py does for create. Cold."""

from __future__ import annotations

import posix

from ocipy.criu import client
from ocipy.criu.directory import open_directory
from ocipy.errors import reported_as
from ocipy.host.context import HostRun
from ocipy.host.machine import describe_host
from ocipy.host.restore import read_descriptors
from ocipy.operations import foreground
from ocipy.operations.checkpoint import with_config_file
from ocipy.operations.create import make_container, new_state, read_bundle
from ocipy.operations.delete import delete_ended
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
    criu_path: str,
    console_socket: str,
    rootless: bool | None,
    detach: bool,
    subreaper: bool,
) -> int:
    """Restore a container from its images, with the bundle's current config. Unless detached, wait until it ends.

    options.bundle may be relative; it is made absolute. subreaper: adopt the container's orphaned processes. Returns
    the exit status of its process, 128 + the signal that ended it; 0 if it is detached. Raises Error and leaves
    nothing behind, even if a signal interrupts it (children/interrupts.py).
    """
    waiter = foreground.prepare(console_socket, detach, subreaper=subreaper)
    run = _planned(root, options, flags, criu_path, rootless)
    posix.close(make_container(run, root, console_socket=console_socket))
    if waiter is None:
        return 0
    status = waiter.wait(run.pid, run.pidfd, run.master)
    foreground.warn_of_oom_kill(options.container_id, run.cgroup, status)
    delete_ended(run.state)
    return status


def _planned(root: str, options: Options, flags: CriuFlags, criu_path: str, rootless: bool | None) -> HostRun:
    """The run of a restore. Makes nothing yet."""
    plan.check_flags(flags)
    config = read_bundle(root, options)
    flags = with_config_file(flags, config)
    program = client.find(criu_path)
    _check_images(flags.image_path)
    descriptors = read_descriptors(flags.image_path)
    planned = restore.build(config, describe_host(rootless), options, flags, program, descriptors)
    if flags.work_path:
        posix.close(open_directory(flags.work_path, "--work-path", make=True))
    if flags.lazy_pages:
        _check_lazy_pages(program)
    return HostRun(config, options, planned, new_state(options, config))


def _check_lazy_pages(path: str) -> None:
    program = client.start(path)
    try:
        program.learn()
        program.check_feature("lazy_pages", "--lazy-pages")
    finally:
        program.session.end()


def _check_images(image_path: str) -> None:
    """Check that there is a checkpoint."""
    with reported_as(
        f"there is no checkpoint in {image_path}",
        pointer="--image-path",
        hint=f"{INVENTORY} is missing; `ocipy checkpoint` writes the images",
    ):
        posix.stat(f"{image_path}/{INVENTORY}")

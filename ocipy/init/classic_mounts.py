"""The two steps that need mount(2): a new filesystem with options that fsconfig(2) cannot carry, and remount."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, reported_as
from ocipy.init import paths
from ocipy.init.context import carries_out
from ocipy.init.copy_up import copy_content
from ocipy.init.mounts import cannot_mount, finish_attached, open_new, set_recursive
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import MS_BIND, MS_REC, MS_REMOUNT, O_PATH
from ocipy.plan.classic_mounts import MountClassic, Remount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(MountClassic)
def mount_classic(init: Init, step: MountClassic) -> None:
    """Mount a new filesystem by mount(2), for options that fsconfig(2) cannot carry."""
    target, data = open_new(init, step)
    if step.label:
        kind, _, context = step.label.partition("=")
        data = (*data, f'{kind}="{context}"')  # quoted, since a context may contain commas
    try:
        mount_on(init, target, step.source, step.fstype, step.flags, ",".join(data))
    except OSError as error:
        raise cannot_mount(step.fstype, step.destination, error) from None
    # The descriptor still refers to what the mount covers. Open the mount, and check that it is in the same place.
    tree = paths.open_below(init.rootfs, step.destination)
    if procfs.path_of(init.proc, tree) != procfs.path_of(init.proc, target):
        raise Error(f"{step.destination} changed while the mount was made")
    if step.copy_up:
        copy_content(target, tree, data)
    posix.close(target)
    set_recursive(tree, step.recursive_set, step.recursive_clear)
    finish_attached(init, step, tree, step.late)


def mount_on(init: Init, target: int, source: str | None, fstype: str | None, flags: int, data: str | None) -> None:
    """Call mount(2) for a descriptor. Since it takes only paths, use the one in our own procfs. Raises OSError."""
    back = posix.open(".", O_PATH)
    posix.fchdir(init.proc)
    try:
        _kernel.mount(source, f"fd/{target}", fstype, flags, data)
    finally:
        posix.fchdir(back)
        posix.close(back)


@carries_out(Remount)
def remount(init: Init, step: Remount) -> None:
    """Change the flags of an existing mount at the destination, by mount(2) with MS_REMOUNT."""
    target = paths.open_below(init.rootfs, step.destination)
    flags = step.flags & ~MS_REC | MS_REMOUNT | (MS_BIND if step.bind else 0)
    with reported_as(f"cannot remount {step.destination}", hint={errno.EINVAL: "nothing is mounted there"}):
        mount_on(init, target, None, None, flags, ",".join(step.data))
    set_recursive(target, step.recursive_set, step.recursive_clear)
    finish_attached(init, step, target)

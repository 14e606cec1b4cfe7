"""mounts on the host: the sources of bind mounts that it opens while it can walk paths with its privileges."""

from __future__ import annotations

import errno

from ocipy.errors import reported_as
from ocipy.host.context import carries_out
from ocipy.init.mounts import open_source
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_IDMAP,
)
from ocipy.plan.mounts import OpenMountSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(OpenMountSource)
def open_mount_source(run: HostRun, step: OpenMountSource) -> None:
    """Open a detached copy of a bind mount's source, with mapped ids if idmap names a map.

    propagation: MS_… of the copy, 0 to leave it a peer. A slave receives the host's mount events, not the reverse.
    """
    tree = run.fds.mounts[step.pointer] = open_source(step.source, step.destination, step.recursive, step.nofollow)
    if step.propagation:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, step.propagation, -1)
    if step.idmap:
        flags = AT_EMPTY_PATH | (AT_RECURSIVE if step.idmap_recursive else 0)
        with reported_as(
            f"cannot map the ids of {step.source}",
            hint={
                errno.EINVAL: "the source's filesystem does not support mapped mounts, or this mount is already mapped"
            },
        ):
            _kernel.mount_setattr(tree, "", flags, MOUNT_ATTR_IDMAP, 0, 0, run.id_maps[step.idmap])

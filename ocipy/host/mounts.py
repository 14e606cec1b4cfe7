"""mounts on the host: opening the sources of bind mounts that init lacks the privileges to open or map."""

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
    """Open a detached copy of a bind mount's source. idmap: whose id maps it gets, or "".

    propagation: MS_… of the copy, 0 to leave it a peer. A slave receives the host's mount events but sends none.
    """
    tree = run.fds.mounts[step.pointer] = open_source(step.source, step.destination, step.recursive, step.nofollow)
    if step.propagation:
        _kernel.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, step.propagation, -1)
    if step.idmap:
        flags = AT_EMPTY_PATH | (AT_RECURSIVE if step.idmap_recursive else 0)
        with reported_as(
            f"cannot map the ids of {step.source}",
            hint={errno.EINVAL: "the source's filesystem does not support idmapped mounts, or this is already one"},
        ):
            _kernel.mount_setattr(tree, "", flags, MOUNT_ATTR_IDMAP, 0, 0, run.id_maps[step.idmap])

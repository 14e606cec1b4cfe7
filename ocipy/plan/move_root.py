"""--no-pivot: the root without pivot_root(2)."""

from __future__ import annotations

from ocipy.plan.model import InitStep


class MoveRoot(InitStep):
    """Move the root's mount over "/", and hide the procfs and sysfs mounts of the host that stay below it."""

    words = "onto /, without pivot_root"

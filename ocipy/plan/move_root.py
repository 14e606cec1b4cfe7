"""--no-pivot: the root without pivot_root(2)."""

from __future__ import annotations

from ocipy.plan.model import InitStep


class MoveRoot(InitStep):
    """Move the root's mount to "/" and unmount what was there."""

    words = "without pivot_root"

"""The two kinds of mount that need mount(2): those with options that fsconfig(2) cannot carry, and remounts."""

from __future__ import annotations

from ocipy.plan.model import phrase
from ocipy.plan.mount_options import MountStep, NewMount, mount_flag_words, tree_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.mount_options import MountEntry
    from ocipy.plan.model import Planner


class MountClassic(NewMount):
    """Mount a new filesystem by mount(2). flags: MS_…."""

    flags: int

    def describe(self) -> str:
        return self.describe_options(mount_flag_words(self.flags))


class Remount(MountStep):
    """Change the flags, and without bind also the data, of an existing mount. flags: MS_…."""

    bind: bool
    flags: int
    data: tuple[str, ...]

    def describe(self) -> str:
        return phrase(self.destination, mount_flag_words(self.flags), ",".join(self.data), self.describe_rest())


def plan_classic(planner: Planner, mount: MountEntry, flags: int, label: str, late: bool) -> None:
    """Mount a new filesystem. flags: MS_… of the mount. label, late: as in NewMount."""
    planner.in_init(
        MountClassic(
            mount.pointer,
            flags=flags,
            destination=mount.destination,
            source=mount.given.get("source") or "",
            fstype=mount.fstype,
            data=mount.options.data,
            label=label,
            copy_up=mount.options.copy_up,
            late=late,
            **tree_of(mount.options),
        )
    )


def plan_remount(planner: Planner, mount: MountEntry) -> None:
    """remount: change the flags, and without bind also the data, of an existing mount at the destination."""
    planner.in_init(
        Remount(
            mount.pointer,
            destination=mount.destination,
            bind=mount.is_bind,
            flags=mount.options.flags,
            data=() if mount.is_bind else mount.options.data,
            **tree_of(mount.options),
        )
    )

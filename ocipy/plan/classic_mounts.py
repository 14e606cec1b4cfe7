"""The two mounts that need mount(2): options that fsconfig(2) cannot carry, and remount."""

from __future__ import annotations

from ocipy.linux.paths import clean
from ocipy.plan.model import join
from ocipy.plan.mount_options import MountStep, NewMount, mount_flag_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.mount_options import MountOptions
    from ocipy.config.types import Mount as Entry
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
        return join(self.destination, mount_flag_words(self.flags), ",".join(self.data), self.describe_rest())


def plan_classic(
    planner: Planner, mount: Entry, parsed: MountOptions, flags: int, label: str, late: bool, pointer: str
) -> None:
    """Mount a new filesystem. flags: MS_… of the mount; parsed has the other options. late: as in NewMount."""
    planner.add(
        MountClassic(
            pointer,
            flags=flags,
            destination=clean(mount["destination"]),
            source=mount.get("source") or "",
            fstype=mount.get("type") or "",
            data=parsed.data,
            label=label,
            propagation=parsed.propagation,
            recursive_set=parsed.recursive_set,
            recursive_clear=parsed.recursive_clear,
            copy_up=parsed.copy_up,
            late=late,
        )
    )


def plan_remount(planner: Planner, mount: Entry, parsed: MountOptions, is_bind: bool, pointer: str) -> None:
    """remount: change the flags, and without bind also the data, of an existing mount at the destination."""
    planner.add(
        Remount(
            pointer,
            destination=clean(mount["destination"]),
            bind=is_bind,
            flags=parsed.flags,
            data=() if is_bind else parsed.data,
            propagation=parsed.propagation,
            recursive_set=parsed.recursive_set,
            recursive_clear=parsed.recursive_clear,
        )
    )

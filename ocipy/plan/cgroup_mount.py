"""Mounts of type cgroup and cgroup2: the container's view of its cgroups.

`cgroup` means whatever the host has: v2, or on v1 and hybrid a tmpfs with a directory for each hierarchy. As with any
mount, the options decide whether it is writable: engines ask for "ro", or omit it to have it writable.
"""

from __future__ import annotations

from ocipy.plan.model import phrase
from ocipy.plan.mount_options import MountStep, attribute_words, tree_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.mount_options import MountEntry
    from ocipy.plan.model import Planner


class CgroupMount(MountStep):
    """A view of the cgroups. namespace: the container's cgroup namespace, "new" or "joined", or "" without one."""

    attributes: int
    namespace: str

    def describe(self) -> str:
        return self._in_words()

    def _in_words(self, *more: str) -> str:
        seen = "as the cgroup namespace shows it" if self.namespace else "only the container's own cgroup"
        rest = self.describe_rest(*more)
        return phrase(f"→ {self.destination}", attribute_words(self.attributes), rest) + ", " + seen


class MountCgroup1(CgroupMount):
    """A tmpfs with a directory for each hierarchy. label: SELinux's option, or ""."""

    label: str

    def describe(self) -> str:
        return self._in_words(self.label)


class MountCgroup2(CgroupMount):
    """The v2 hierarchy. mask: without a cgroup namespace, cover it if it cannot be shown."""

    source: str
    data: tuple[str, ...]
    mask: bool


def plan_cgroup_mount(planner: Planner, mount: MountEntry) -> None:
    """Plan one entry of mounts whose type is cgroup or cgroup2, and which is not a bind mount."""
    host = planner.host
    pointer, parsed = mount.pointer, mount.options
    linux = planner.config.get("linux") or {}
    namespace = "new" if "cgroup" in planner.namespaces.new else ""
    if "cgroup" in planner.namespaces.joined:
        namespace = "joined"  # its root may differ from the container's cgroup
    if mount.fstype == "cgroup" and host.cgroup_mode != "v2":
        if parsed.data:
            # The hierarchies are the host's: their options cannot be changed.
            planner.warn(pointer + "/options", f"not an option of a cgroup v1 mount: {', '.join(parsed.data)}")
        label = linux.get("mountLabel") or ""
        planner.in_init(
            MountCgroup1(
                pointer,
                label=f"context={label}" if label and host.selinux else "",
                destination=mount.destination,
                attributes=parsed.attributes,
                namespace=namespace,
                **tree_of(parsed),
            )
        )
        return
    planner.in_init(
        MountCgroup2(
            pointer,
            source=mount.given.get("source") or "cgroup",
            data=parsed.data,
            mask=host.rootless,
            destination=mount.destination,
            attributes=parsed.attributes,
            namespace=namespace,
            **tree_of(parsed),
        )
    )

"""Mounts of type cgroup and cgroup2: the container's view of its cgroups.

`cgroup` means whatever the host has: v2, or on v1 and hybrid a tmpfs with a directory for each hierarchy. As with any
mount, the options decide whether it is writable: engines ask for "ro", or omit it to have it writable.
"""

from __future__ import annotations

from ocipy.cgroups.paths import clean
from ocipy.errors import Error
from ocipy.plan.mount_options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Mount
    from ocipy.plan.model import Host, Options, Plan


def plan_cgroup_mount(plan: Plan, index: int, mount: Mount, config: Config, host: Host, options: Options) -> None:
    """Plan one entry of mounts whose type is cgroup or cgroup2, and which is not a bind mount."""
    pointer = f"/mounts/{index}"
    parsed = parse(mount.get("options") or ())
    if parsed.copy_up:
        raise Error("tmpcopyup is for tmpfs only", pointer=pointer + "/options")
    linux = config.get("linux") or {}
    namespaces = [entry for entry in linux.get("namespaces") or () if entry["type"] == "cgroup"]
    arguments = {
        "destination": clean("/" + mount["destination"]),
        "attributes": parsed.attributes,
        "propagation": parsed.propagation,
        "recursive_set": parsed.recursive_set,
        "recursive_clear": parsed.recursive_clear,
        # A joined one may have another root than the container's cgroup.
        "namespace": ("joined" if namespaces[0].get("path") else "new") if namespaces else "",
    }
    if mount.get("type") == "cgroup" and host.cgroup_mode != "v2":
        if parsed.data:
            # The hierarchies are the host's: their options cannot be changed.
            plan.warn(pointer + "/options", f"not an option of a cgroup v1 mount: {', '.join(parsed.data)}")
        label = linux.get("mountLabel") or ""
        plan.in_init("mount_cgroup1", pointer, label=f"context={label}" if label and host.selinux else "", **arguments)
        return
    source = mount.get("source") or "cgroup"
    plan.in_init("mount_cgroup2", pointer, source=source, data=parsed.data, mask=host.rootless, **arguments)

"""root and linux.rootfsPropagation: the root filesystem, from the host's tree to the container's "/"."""

from __future__ import annotations

from ocipy.cgroups.paths import clean
from ocipy.errors import Error
from ocipy.linux.constants import MS_PRIVATE, MS_REC, MS_SLAVE
from ocipy.plan.mount_options import PROPAGATION
from ocipy.plan.mounts import dev_is_bound, opened_by_host
from ocipy.plan.namespaces import joined_kinds, new_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan

POINTER = "/linux/rootfsPropagation"


def root_path(config: Config, options: Options) -> str:
    """Return root.path, absolute."""
    path = config["root"]["path"]
    return path if path.startswith("/") else options.bundle + "/" + path


def _mount_namespace(config: Config) -> str:
    """Return the container's mount namespace: "new", "joined", or "" for the runtime's own."""
    if "mount" in new_kinds(config):
        return "new"
    return "joined" if "mount" in joined_kinds(config) else ""


def plan_root_source(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Open the root filesystem on the host if init might not be able to walk to it."""
    path = root_path(config, options)
    kind = _mount_namespace(config)
    if not kind:
        plan.on_host("bind_rootfs", "/root/path", path=path)
    elif kind == "new" and opened_by_host(config, host):
        plan.on_host("open_rootfs", "/root/path", path=path, propagation=_of_tree(config))


def plan_rootfs(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Turn the container's root into a mount, and open it; from here on the host sees none of the mounts."""
    path = root_path(config, options)
    kind = (config.get("linux") or {}).get("rootfsPropagation") or ""
    namespace = _mount_namespace(config)
    if not namespace:
        plan.in_init("use_rootfs", "/root/path", path=path)
        return
    if namespace == "joined":
        # Others see this namespace: we must not change its propagation or, later, its root.
        plan.in_init("rootfs", "/root/path", path=path, propagation=MS_PRIVATE, parent=0)
        return
    before = _before(kind)
    if before:
        plan.in_init("propagation", POINTER if kind else "", flags=before)
    if opened_by_host(config, host):
        plan.in_init("attach_rootfs", "/root/path", name="rootfs")
        return
    plan.in_init("rootfs", "/root/path", path=path, propagation=_of_tree(config), parent=_of_parent(kind))


def _before(kind: str) -> int:
    """Return what the host's tree becomes in our mount namespace: private, or a slave of what it was.

    Not if the root will be shared: then a bind mount may be a peer of its source, so that mounts propagate both ways.
    """
    if kind in ("shared", "rshared"):
        return 0
    if kind in ("private", "rprivate", "unbindable", "runbindable"):
        return MS_PRIVATE | MS_REC
    return MS_SLAVE | MS_REC


def _of_tree(config: Config) -> int:
    """Propagation of the copy of the root filesystem: pivot_root(2) refuses a shared one, so that is set afterwards."""
    kind = (config.get("linux") or {}).get("rootfsPropagation") or ""
    return MS_SLAVE if kind in ("slave", "rslave") else MS_PRIVATE


def _of_parent(kind: str) -> int:
    """Propagation of the mount below the root filesystem: if shared, our mounts would propagate to the host."""
    return MS_SLAVE if kind in ("slave", "rslave") else MS_PRIVATE


def plan_pivot(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make the root "/" and detach the host's tree, except in a mount namespace that others live in too.

    There pivot_root(2) would take away their root, or even the host's.
    """
    kind = (config.get("linux") or {}).get("rootfsPropagation") or ""
    namespace = _mount_namespace(config)
    if namespace != "new":
        if namespace:
            plan.warn("/linux/namespaces", "in a joined mount namespace chroot alone holds the root")
        plan.in_init("chroot", "/root/path")
    elif options.no_pivot:
        if kind in ("private", "rprivate"):
            raise Error("a private root is not safe without pivot_root", pointer=POINTER, hint="omit --no-pivot")
        plan.in_init("move_root", "/root/path")
    else:
        plan.in_init("pivot_root", "/root/path")
    if kind:
        # The root alone, even with an "r": mounts below it have their own options.
        plan.in_init("propagation", POINTER, flags=PROPAGATION[kind] & ~MS_REC)
    if not dev_is_bound(config):
        devices = (config.get("linux") or {}).get("devices") or ()
        own = [index for index, device in enumerate(devices) if clean(device["path"]) == "/dev/null"]
        plan.in_init("stdio_null", f"/linux/devices/{own[-1]}" if own else "/linux/devices", required=True)


def plan_root_readonly(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """root.readonly, once everything in it has been made."""
    root = config.get("root")
    if root and root.get("readonly"):
        plan.in_init("root_readonly", "/root/readonly")

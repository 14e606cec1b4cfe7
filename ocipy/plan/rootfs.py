"""root and linux.rootfsPropagation: the root filesystem, from the host's tree to the container's "/"."""

from __future__ import annotations

from ocipy.config.mount_options import PROPAGATION
from ocipy.errors import Error
from ocipy.linux.constants import MS_PRIVATE, MS_REC, MS_SLAVE
from ocipy.linux.paths import clean
from ocipy.plan.model import HostStep, InitStep
from ocipy.plan.mount_options import propagation_words
from ocipy.plan.mounts import dev_is_bound, opened_by_host
from ocipy.plan.process import StdioNull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Options, Planner

POINTER = "/linux/rootfsPropagation"


class OpenRootfs(HostStep):
    """Open a detached copy of the root filesystem, for an init that may not walk to it. propagation: MS_…."""

    path: str
    propagation: int

    def describe(self) -> str:
        return self.path


class BindRootfs(HostStep):
    """Without a mount namespace: bind the root filesystem onto itself, so that delete can remove all mounts."""

    path: str

    def describe(self) -> str:
        return self.path + " onto itself, on the host"


class UseRootfs(InitStep):
    """Open what BindRootfs has mounted."""

    path: str

    def describe(self) -> str:
        return self.path


class Rootfs(InitStep):
    """Bind the root filesystem onto itself. propagation, parent: MS_… of it and of the mount below."""

    path: str
    propagation: int
    parent: int

    def describe(self) -> str:
        return self.path + " onto itself"


class Propagation(InitStep):
    """Change the propagation of "/". flags: MS_…."""

    flags: int

    def describe(self) -> str:
        return "/ " + propagation_words(self.flags)


class AttachRootfs(InitStep):
    """Attach what OpenRootfs has opened."""

    words = "the tree that the host opened"


class Chroot(InitStep):
    """Enter the root with chroot; the mount namespace keeps its own root."""

    words = "into the root filesystem"


class PivotRoot(InitStep):
    """pivot_root(2)."""

    words = "into the root filesystem; detaches the host's tree"


class RootReadonly(InitStep):
    """Make the root read-only."""

    words = "/"


def root_path(config: Config, options: Options) -> str:
    """Return root.path, absolute."""
    path = config["root"]["path"]
    return path if path.startswith("/") else options.bundle + "/" + path


def _mount_namespace(planner: Planner) -> str:
    """Return the container's mount namespace: "new", "joined", or "" for the runtime's own."""
    if "mount" in planner.namespaces.new:
        return "new"
    return "joined" if "mount" in planner.namespaces.joined else ""


def plan_root_source(planner: Planner) -> None:
    """Open the root filesystem on the host if init might not be able to walk to it."""
    config = planner.config
    path = root_path(config, planner.options)
    kind = _mount_namespace(planner)
    if not kind:
        planner.on_host(BindRootfs("/root/path", path=path))
    elif kind == "new" and opened_by_host(planner):
        planner.on_host(OpenRootfs("/root/path", path=path, propagation=_of_tree(config)))


def plan_rootfs(planner: Planner) -> None:
    """Turn the container's root into a mount, and open it; from here on the host sees none of the mounts."""
    config = planner.config
    path = root_path(config, planner.options)
    kind = (config.get("linux") or {}).get("rootfsPropagation") or ""
    namespace = _mount_namespace(planner)
    if not namespace:
        planner.in_init(UseRootfs("/root/path", path=path))
        return
    if namespace == "joined":
        # Others see this namespace: we must not change its propagation or, later, its root.
        planner.in_init(Rootfs("/root/path", path=path, propagation=MS_PRIVATE, parent=0))
        return
    before = _before(kind)
    if before:
        planner.in_init(Propagation(POINTER if kind else "", flags=before))
    if opened_by_host(planner):
        planner.in_init(AttachRootfs("/root/path"))
        return
    planner.in_init(Rootfs("/root/path", path=path, propagation=_of_tree(config), parent=_of_parent(kind)))


def _before(kind: str) -> int:
    """Return what the host's tree becomes in our mount namespace: private, or a slave of what it was.

    0 if the root will be shared: then a bind mount may be a peer of its source, so that mounts propagate both ways.
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


def plan_pivot(planner: Planner) -> None:
    """Make the root "/" and detach the host's tree, except in a mount namespace that others live in too.

    There pivot_root(2) would take away their root, or even the host's.
    """
    config = planner.config
    kind = (config.get("linux") or {}).get("rootfsPropagation") or ""
    namespace = _mount_namespace(planner)
    if namespace != "new":
        if namespace:
            planner.warn("/linux/namespaces", "in a joined mount namespace, only chroot confines the process")
        planner.in_init(Chroot("/root/path"))
    elif planner.options.no_pivot:
        if kind in ("private", "rprivate"):
            raise Error("a private root is not safe without pivot_root", pointer=POINTER, hint="omit --no-pivot")
        from ocipy.plan.move_root import MoveRoot

        planner.in_init(MoveRoot("/root/path"))
    else:
        planner.in_init(PivotRoot("/root/path"))
    if kind:
        # The root alone, even with an "r": mounts below it have their own options.
        planner.in_init(Propagation(POINTER, flags=PROPAGATION[kind] & ~MS_REC))
    if not dev_is_bound(planner):
        devices = (config.get("linux") or {}).get("devices") or ()
        own = [index for index, device in enumerate(devices) if clean(device["path"]) == "/dev/null"]
        planner.in_init(StdioNull(f"/linux/devices/{own[-1]}" if own else "/linux/devices", required=True))


def plan_root_readonly(planner: Planner) -> None:
    """root.readonly, once everything in it has been made."""
    root = planner.config.get("root")
    if root and root.get("readonly"):
        planner.in_init(RootReadonly("/root/readonly"))

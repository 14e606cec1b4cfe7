"""mounts: what is mounted where, and how.

Each entry becomes one step of the init lane: `bind`, `mount`, or one of the two that need mount(2): `mount_classic`
for options that fsconfig(2) cannot carry, and `remount`. The host lane opens a bind mount's source if init will lack
the privileges to walk there (in a user namespace), or to map its ids.
"""

from __future__ import annotations

from ocipy.config.mount_options import CGROUP_TYPES, read_mounts
from ocipy.errors import Error
from ocipy.linux.constants import MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_RDONLY, MS_REC, MS_SLAVE
from ocipy.linux.paths import ALLOWED_IN_PROC
from ocipy.plan import cgroup_mount
from ocipy.plan.model import HostStep, InitStep, if_set, phrase
from ocipy.plan.mount_options import FsopenMount, MountStep, attribute_words, tree_of
from ocipy.plan.namespaces import clones_mounts, enters_last

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.mount_options import MountEntry
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Planner
    from ocipy.plan.pid_namespace import MountProcfs


# Filesystems that are the same in every network namespace, and those without a block device.
NO_NETWORK = ("devpts", "mqueue", "proc", "tmpfs")
NO_DEVICE = (*CGROUP_TYPES, *NO_NETWORK, "sysfs")


class OpenMountSource(HostStep):
    """Open a detached copy of a bind mount's source, for the Bind of the same pointer.

    propagation: MS_… of the copy, 0 to leave it a peer. idmap: the pointer of the step that opens the map
    (plan/idmap.py), or ""; idmap_recursive: for the whole tree.
    """

    source: str
    destination: str
    recursive: bool
    nofollow: bool
    propagation: int
    idmap: str
    idmap_recursive: bool

    def describe(self) -> str:
        recursive, mapped = if_set(self.recursive, "recursive"), if_set(self.idmap, "id-mapped")
        return phrase(f"{self.source} for {self.destination}", recursive, mapped)


class Bind(MountStep):
    """Bind a file or directory of the host.

    opened: the host has opened the source (OpenMountSource). attr_set, attr_clear: MOUNT_ATTR_…. attr_implicit: also
    to clear, unless locked.
    """

    source: str
    opened: bool
    recursive: bool
    source_nofollow: bool
    target_nofollow: bool
    attr_set: int
    attr_clear: int
    attr_implicit: int

    def describe(self) -> str:
        return phrase(
            f"{self.source} → {self.destination}",
            if_set(self.recursive, "recursive"),
            attribute_words(self.attr_set),
            self.describe_rest(),
            if_set(self.source_nofollow, "(the symlink itself)"),
        )


class CopySymlink(Bind):
    """Make a copy of the host's symlink instead of a mount (crun's copy-symlink); bind anything else."""

    def describe(self) -> str:
        return f"{self.source} → {self.destination}, as a copy of the symlink"


class Mount(FsopenMount):
    """Mount a new filesystem by fsopen(2)."""


class RemountReadonly(InitStep):
    """Make a mount read-only that earlier steps needed writable: the one of the same pointer."""

    words = "a mount that had to stay writable until now"


def opened_by_host(planner: Planner) -> bool:
    """Whether init will lack the runtime's privileges to walk to a source and open it."""
    return "user" in planner.namespaces.all and clones_mounts(planner.host)


def mounts_of(planner: Planner) -> list[MountEntry]:
    """Return the mounts of the config, which are read only once."""
    if planner.mounts is None:
        planner.mounts = read_mounts(planner.config)
        planner.dev_is_bound = any(mount.destination == "/dev" and mount.is_bind for mount in planner.mounts)
    return planner.mounts


def dev_is_bound(planner: Planner) -> bool:
    """Whether /dev is a bind mount: then it is the host's, and nothing is made in it."""
    mounts_of(planner)
    return planner.dev_is_bound


def plan_sources(planner: Planner) -> None:
    """Open on the host the sources of bind mounts that init could not open: mapped, or behind closed directories."""
    for mount in mounts_of(planner):
        mapped = ""
        if _has_map(mount):
            from ocipy.plan.idmap import plan_idmap

            mapped = plan_idmap(planner, mount)
        if mount.is_bind and _is_opened(planner, mount) and not mount.is_remount:
            parsed = mount.options
            planner.on_host(
                OpenMountSource(
                    mount.pointer,
                    source=_source(mount, planner.options),
                    destination=mount.destination,
                    recursive=bool(parsed.flags & MS_REC),
                    nofollow=parsed.source_nofollow,
                    propagation=_of_copy(planner.config),
                    idmap=mapped,
                    idmap_recursive=parsed.idmap == 2,
                )
            )


def _has_map(mount: MountEntry) -> bool:
    return bool(mount.options.idmap or mount.given.get("uidMappings") or mount.given.get("gidMappings"))


def _is_opened(planner: Planner, mount: MountEntry) -> bool:
    """Whether the host opens the source of a bind mount."""
    return not mount.options.copy_symlink and (opened_by_host(planner) or _has_map(mount))


def first_of_cgroup(planner: Planner) -> int:
    """Return the index of the first mount that shows the container its cgroup, or the number of mounts."""
    mounts = mounts_of(planner)
    return next((index for index, mount in enumerate(mounts) if mount.fstype in CGROUP_TYPES), len(mounts))


def count_private(planner: Planner) -> int:
    """Return how many mounts at the beginning are new filesystems, and the same in every network namespace.

    A bind is not among them: its source may be /proc/self/ns/net, and mounts on it may be propagated to the host. Nor
    is a remount, which may change a filesystem of the host, or a tmpfs with a copy, whose memory counts against the
    container's limit.
    """
    mounts = mounts_of(planner)
    return next(
        (
            index
            for index, mount in enumerate(mounts)
            if mount.fstype not in NO_NETWORK or mount.is_bind or mount.is_remount or mount.options.copy_up
        ),
        len(mounts),
    )


def needs_devices(planner: Planner) -> bool:
    """Whether mounting needs a device: one that holds the filesystem, or one that a tmpfs copies up."""
    return any(
        mount.options.copy_up or not (mount.fstype in NO_DEVICE or mount.is_bind or mount.is_remount)
        for mount in mounts_of(planner)
    )


def plan_mounts(planner: Planner, start: int = 0, end: int | None = None) -> None:
    """Plan the mounts from one index up to another, or to the last, in the config's order (config.md: MUST)."""
    config, host = planner.config, planner.host
    label = plan_label(config, host)
    outside = enters_last(planner)
    for mount in mounts_of(planner)[start:end]:
        destination = mount.destination
        assert not destination.startswith("/proc/") or destination in ALLOWED_IN_PROC
        assert destination != "/" or "mount" in planner.namespaces.new
        if not mount.given["destination"].startswith("/"):
            text = f"{mount.given['destination']!r} is relative, which is deprecated; using {destination}"
            planner.warn(mount.pointer + "/destination", text)
        if mount.is_remount:
            from ocipy.plan.classic_mounts import plan_remount

            plan_remount(planner, mount)
        elif mount.is_bind:
            _plan_bind(planner, mount)
        elif mount.fstype in CGROUP_TYPES:
            cgroup_mount.plan_cgroup_mount(planner, mount)
        else:
            _plan_filesystem(planner, mount, label, outside)


def plan_readonly(planner: Planner) -> None:
    """Make read-only what was kept writable for the devices and the console."""
    for mount in mounts_of(planner):
        if _is_late_readonly(mount):
            planner.in_init(RemountReadonly(mount.pointer))


def plan_label(config: Config, host: Host) -> str:
    """Return linux.mountLabel as an option for filesystems, such as "context=…", or ""."""
    label = (config.get("linux") or {}).get("mountLabel") or ""
    if not label:
        return ""
    if not host.selinux:
        raise Error(
            "cannot label mounts: SELinux is not enabled on this host",
            pointer="/linux/mountLabel",
            hint="omit the label, or enable SELinux",
        )
    # crun's annotation, which podman sets: selects one of SELinux's four mount options.
    context = (config.get("annotations") or {}).get("run.oci.mount_context_type") or "context"
    return f"{context}={label}"


def _source(mount: MountEntry, options: Options) -> str:
    source = mount.given.get("source") or ""
    assert source
    return source if source.startswith("/") else options.bundle + "/" + source


def _of_copy(config: Config) -> int:
    """Return the propagation of a source that the host opens, unless the mount's options name one: what init would
    find in a new mount namespace (plan/rootfs.py). 0 keeps it a peer, so that mounts propagate both ways."""
    kind = (config.get("linux") or {}).get("rootfsPropagation") or ""
    if kind in ("shared", "rshared"):
        return 0
    return MS_PRIVATE if kind.removeprefix("r") in ("private", "unbindable") else MS_SLAVE


def _plan_bind(planner: Planner, mount: MountEntry) -> None:
    parsed = mount.options
    by_host = _is_opened(planner, mount)
    if parsed.data:
        planner.warn(mount.pointer + "/options", f"not an option of a bind mount: {', '.join(parsed.data)}")
    kind = CopySymlink if parsed.copy_symlink else Bind
    planner.in_init(
        kind(
            mount.pointer,
            destination=mount.destination,
            source=_source(mount, planner.options),
            opened=by_host,
            recursive=bool(parsed.flags & MS_REC),
            source_nofollow=parsed.source_nofollow,
            target_nofollow=parsed.target_nofollow,
            attr_set=parsed.attributes,
            attr_clear=parsed.explicit_clear,
            # In a user namespace the source's flags are locked (mount_namespaces(7)): they stay unless named.
            attr_implicit=0 if by_host else parsed.implicit_clear,
            **tree_of(parsed),
        )
    )


def _plan_filesystem(planner: Planner, mount: MountEntry, label: str, outside: bool) -> None:
    """outside: init is not in the container's pid namespace yet, which a procfs needs."""
    destination, fstype, parsed = mount.destination, mount.fstype, mount.options
    assert fstype and (fstype == "proc" or destination != "/proc")
    if destination != "/proc" and fstype == "proc":
        text = "maskedPaths and readonlyPaths only cover a procfs mounted on /proc"
        planner.warn(mount.pointer + "/destination", text)
    if fstype in ("proc", "sysfs"):
        label = ""  # their inodes have their own contexts
    late = _is_late_readonly(mount)
    kind: type[Mount | MountProcfs] = Mount
    data = parsed.data
    if fstype == "proc" and outside:
        from ocipy.plan.pid_namespace import MountProcfs

        kind = MountProcfs
        data = tuple(option for word in data for option in word.split(","))
    elif parsed.needs_mount2:
        from ocipy.plan.classic_mounts import plan_classic

        plan_classic(planner, mount, parsed.flags & ~MS_RDONLY if late else parsed.flags, label, late)
        return
    planner.in_init(
        kind(
            mount.pointer,
            attributes=parsed.attributes & ~MOUNT_ATTR_RDONLY if late else parsed.attributes,
            # As in mount(2), ro applies to the filesystem too.
            superblock=tuple(word for word in parsed.superblock if word != "ro") if late else parsed.superblock,
            destination=destination,
            source=mount.given.get("source") or "",
            fstype=fstype,
            data=data,
            label=label,
            copy_up=parsed.copy_up,
            late=late,
            **tree_of(parsed),
        )
    )


def _is_late_readonly(mount: MountEntry) -> bool:
    """Whether it becomes read-only later: mount points and copies are first made in a tmpfs, and nodes in /dev."""
    if not mount.options.flags & MS_RDONLY or mount.is_remount or mount.is_bind:
        return False
    return mount.fstype == "tmpfs" or mount.destination == "/dev"

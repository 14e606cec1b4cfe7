"""linux.namespaces, linux.uidMappings, linux.gidMappings: how the init process gets into its namespaces.

By one clone3 where possible. Otherwise in stages, by a process that is not yet the init: if a namespace is joined,
since it must be entered before new ones are made below it; or if a time namespace is made, since its clocks are set
after it is made and before the first process enters (time_namespaces(7)). A cgroup namespace's root is the current
cgroup at its creation, so it is unshared after init is in its cgroup (cgroup_namespaces(7)), except on a unified
host, where clone3 does both (CLONE_INTO_CGROUP).
"""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.linux.constants import (
    CAP_SYS_ADMIN,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from ocipy.plan.fields import kept_for_start, process_of
from ocipy.plan.rare import rare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ocipy.config.types import Config, IDMapping
    from ocipy.plan.model import Host, Options, Plan

FLAGS = {
    "cgroup": CLONE_NEWCGROUP,
    "ipc": CLONE_NEWIPC,
    "mount": CLONE_NEWNS,
    "network": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "time": CLONE_NEWTIME,
    "user": CLONE_NEWUSER,
    "uts": CLONE_NEWUTS,
}


def has_namespace(config: Config, kind: str) -> bool:
    """Whether the container has a namespace of this kind, new or joined, that is not the runtime's."""
    return any(found == kind for found, _, _ in _entries(config))


def flags_of(kinds: Iterable[str]) -> int:
    """Return the CLONE_NEW… flags of these kinds, for clone(2), unshare(2) and setns(2)."""
    flags = 0
    for kind in kinds:
        flags |= FLAGS[kind]
    return flags


def new_kinds(config: Config) -> dict[str, str]:
    """Return the kinds to make, each with its pointer."""
    return {kind: pointer for kind, path, pointer in _entries(config) if not path}


def joined_kinds(config: Config) -> dict[str, tuple[str, str]]:
    """Return the kinds to join, each with path and pointer."""
    return {kind: (path, pointer) for kind, path, pointer in _entries(config) if path}


def _entries(config: Config) -> list[tuple[str, str, str]]:
    linux = config.get("linux") or {}
    return [
        (entry["type"], entry.get("path") or "", f"/linux/namespaces/{index}")
        for index, entry in enumerate(linux.get("namespaces") or ())
    ]


def needs_stages(config: Config) -> bool:
    """Whether one clone3 is not enough to make the init process."""
    return bool(joined_kinds(config)) or "time" in new_kinds(config)


def clones_mounts(host: Host) -> bool:
    """Whether open_tree(2) lets the runtime copy mounts, which needs CAP_SYS_ADMIN over its mount namespace."""
    return host.clones_mounts and bool(host.capabilities >> CAP_SYS_ADMIN & 1)


def is_watched(config: Config, host: Host) -> bool:
    """Whether others may look at init from the beginning: in a joined pid namespace, with CAP_SYS_PTRACE over the
    runtime's own user namespace (ptrace(2)). Without privileges there, the runtime could not join such a namespace."""
    return "pid" in joined_kinds(config) and clones_mounts(host)


def enters_last(config: Config, host: Host) -> bool:
    """Whether init enters a joined pid namespace only after its root is the container's, and covered.

    Not with a user namespace: once inside it, init may lack the privilege to enter.
    """
    return is_watched(config, host) and not has_namespace(config, "user")


def plan_join(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Open the joined namespaces while host paths can still be walked with the host's privileges."""
    linux = config.get("linux") or {}
    for member, mappings in (("uidMappings", linux.get("uidMappings")), ("gidMappings", linux.get("gidMappings"))):
        if mappings and not has_namespace(config, "user"):
            plan.warn("/linux/" + member, "has no effect without a user namespace in linux.namespaces")
    for kind, (path, pointer) in joined_kinds(config).items():
        plan.on_host("open_namespace", pointer, kind=kind, path=path)


def plan_clone(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """The clone itself."""
    new = new_kinds(config)
    joined = joined_kinds(config)
    if not needs_stages(config):
        later = {"cgroup": not _into_cgroup(config, host, options), "ipc": unshares_ipc(config)}
        kinds = tuple(kind for kind in new if not later.get(kind))
        plan.on_host("clone", "/linux/namespaces", kinds=kinds, into_cgroup=_into_cgroup(config, host, options))
        return
    last = enters_last(config, host)
    plan.on_host(
        "clone_stage",
        "/linux/namespaces",
        joined=tuple((kind, pointer) for kind, (_, pointer) in joined.items() if kind != "pid" or not last),
        drop_groups="user" in joined and not keeps_groups(config),
        user="user" in new,
        unshared=tuple(kind for kind in new if kind not in ("cgroup", "user")),
        forks=not last and any(kind in new or kind in joined for kind in ("pid", "time")),
        watched=not last and is_watched(config, host),
        clocks="time" in new and bool((config.get("linux") or {}).get("timeOffsets")),
    )


def plan_enter_pid(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Fork into a joined pid namespace, where others look at init (pid_namespaces(7): only children are in it)."""
    if not enters_last(config, host):
        return
    _, pointer = joined_kinds(config)["pid"]
    terminal = bool(process_of(config).get("terminal"))
    plan.in_init("close_descriptors", pointer, keep=("rootfs", "namespace/pid", *kept_for_start(config)))
    plan.in_init("enter_pid_namespace", pointer, terminal=terminal)
    plan.on_host("adopt_init", pointer)
    plan.on_host("save_state", "")
    plan.on_host("give_procfs", pointer, whole=False)
    plan.in_init("take_procfs", pointer)


def unshares_ipc(config: Config) -> bool:
    """Whether init makes its IPC namespace itself: /dev/mqueue belongs to its creator (mq_overview(7)), which must be
    root of the new user namespace; but root is not mapped until the maps are written."""
    new = new_kinds(config)
    return "user" in new and "ipc" in new and not needs_stages(config)


def plan_unshare_ipc(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make the IPC namespace if the clone does not."""
    if unshares_ipc(config):
        plan.in_init("unshare_ipc", new_kinds(config)["ipc"])


def _into_cgroup(config: Config, host: Host, options: Options) -> bool:
    # systemd makes the cgroup once there is a process for it.
    return host.cgroup_mode == "v2" and not (host.rootless or options.systemd_cgroup or needs_stages(config))


def plan_stage(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """What the host does for the stage before init, which is already in its cgroup."""
    plan.on_host("tell", "/linux/namespaces", barrier="joined")
    new = new_kinds(config)
    if "user" in new:
        plan.on_host("wait", new["user"], barrier="user")
        plan_id_maps(plan, config, host, options)
        plan.on_host("tell", new["user"], barrier="mapped")
    if "time" in new:
        plan.on_host("wait", new["time"], barrier="time")
        rare("namespace_contents", "plan_time_offsets", plan, config, host, options)
        plan.on_host("tell", new["time"], barrier="offset")


def plan_unshare_cgroup(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make a cgroup namespace that the clone could not make."""
    new = new_kinds(config)
    if "cgroup" in new and not _into_cgroup(config, host, options):
        plan.in_init("unshare_cgroup", new["cgroup"])


def id_maps(config: Config) -> tuple[Sequence[IDMapping], Sequence[IDMapping]]:
    """Return the maps of user and group ids; empty if the container has no user namespace."""
    linux = config.get("linux") or {}
    if not has_namespace(config, "user"):
        return (), ()
    return linux.get("uidMappings") or (), linux.get("gidMappings") or ()


def plan_id_maps(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Write the maps of a new user namespace."""
    if "user" not in new_kinds(config):
        return
    uids, gids = map(triples, id_maps(config))
    assert uids and gids
    if not host.rootless:
        # As in runc. Without the privileges of the host's root any map is accepted: `unshare -c` maps one's own id.
        for mappings, pointer in ((uids, "/linux/uidMappings"), (gids, "/linux/gidMappings")):
            if all(inside for inside, _, _ in mappings):
                raise Error(
                    "a new user namespace needs a mapping of the container's id 0",
                    pointer=pointer,
                    hint='one entry with "containerID": 0: its root sets the container up',
                )
    plan.on_host("uid_map", "/linux/uidMappings", mappings=uids, by_helper=_by_helper(uids, host.uid, host))
    plan.on_host(
        "gid_map",
        "/linux/gidMappings",
        mappings=gids,
        by_helper=_by_helper(gids, host.gid, host),
        deny_setgroups=denies_setgroups(config, host),
    )


def _by_helper(mappings: Sequence[tuple[int, int, int]], own: int, host: Host) -> bool:
    """A user may map one id, their own, without a helper. Root of a user namespace maps its own ids itself."""
    return host.rootless and host.uid != 0 and not _is_own(mappings, own)


def _is_own(mappings: Sequence[tuple[int, int, int]], own: int) -> bool:
    return len(mappings) == 1 and mappings[0][1:] == (own, 1)


def denies_setgroups(config: Config, host: Host) -> bool:
    """A user who writes gid_map directly must first deny setgroups (user_namespaces(7))."""
    _, gids = id_maps(config)
    return host.rootless and host.uid != 0 and _is_own(triples(gids), host.gid)


def keeps_groups(config: Config) -> bool:
    """crun's annotation, which podman sets for `--group-add keep-groups`: true for any value except "0"."""
    return (config.get("annotations") or {}).get("run.oci.keep_original_groups", "0") != "0"


def triples(mappings: Sequence[IDMapping]) -> tuple[tuple[int, int, int], ...]:
    """Return (inside, outside, size) of each entry."""
    return tuple((entry["containerID"], entry["hostID"], entry["size"]) for entry in mappings)

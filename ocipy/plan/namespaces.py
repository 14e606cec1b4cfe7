"""linux.namespaces, linux.uidMappings, linux.gidMappings: how the init process gets into its namespaces.

One clone3 where possible; the host may make the network namespace afterwards, while init mounts. Otherwise a stage, a
process that is not init yet, enters them one by one: if a namespace is joined, since that must happen before new ones
are made below it; or if a time namespace is made, since its clocks are set after it is made and before the first
process enters (time_namespaces(7)). A cgroup namespace's root is the current cgroup at its creation, so it is unshared
after init is in its cgroup (cgroup_namespaces(7)), except on a unified host, where clone3 does both
(CLONE_INTO_CGROUP).
"""

from __future__ import annotations

from ocipy.config.ids import keeps_groups
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
from ocipy.plan.lane import TellInit, WaitForHost, WaitForInit
from ocipy.plan.model import HostStep, InitStep, if_set, phrase
from ocipy.plan.rare import NAMESPACE_CONTENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ocipy.config.types import IDMapping
    from ocipy.plan.model import Host, Planner

    Triples = tuple[tuple[int, int, int], ...]  # (inside, outside, size)

CLONE_FLAGS = {
    "cgroup": CLONE_NEWCGROUP,
    "ipc": CLONE_NEWIPC,
    "mount": CLONE_NEWNS,
    "network": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "time": CLONE_NEWTIME,
    "user": CLONE_NEWUSER,
    "uts": CLONE_NEWUTS,
}


class OpenNamespace(HostStep):
    """Open a namespace that is joined."""

    kind: str
    path: str

    def describe(self) -> str:
        return f"{self.kind} {self.path}"


class Clone(HostStep):
    """Clone the init process into new namespaces of these kinds. into_cgroup: and into its v2 cgroup."""

    kinds: tuple[str, ...]
    into_cgroup: bool

    def describe(self) -> str:
        kinds = phrase("new", *self.kinds) if self.kinds else "no new namespace"
        return kinds + if_set(self.into_cgroup, ", in its cgroup")


class CloneStage(HostStep):
    """Clone the stage, which joins and unshares namespaces and forks init.

    joined: (kind, pointer). user: makes a user namespace. unshared: kinds to make. forks: init is its child; otherwise
    it becomes init itself. watched: others may look at it (is_watched). clocks: it gets time offsets.
    """

    joined: tuple[tuple[str, str], ...]
    drop_groups: bool
    user: bool
    unshared: tuple[str, ...]
    forks: bool
    watched: bool
    clocks: bool

    def describe(self) -> str:
        acts = (
            if_set(self.joined, phrase("joins", *(kind for kind, _ in self.joined))),
            if_set(self.user, "makes user"),
            if_set(self.unshared, phrase("makes", *self.unshared)),
            if_set(self.forks, "forks init"),
        )
        return ", ".join(act for act in acts if act)


class UidMap(HostStep):
    """Write uid_map. mappings: (inside, outside, size). by_helper: by newuidmap(1)."""

    mappings: Triples
    by_helper: bool

    def describe(self) -> str:
        return ranges_in_words(self.mappings) + if_set(self.by_helper, ", by newuidmap")


class GidMap(HostStep):
    """Write gid_map. by_helper: by newgidmap(1). deny_setgroups: first deny setgroups(2)."""

    mappings: Triples
    by_helper: bool
    deny_setgroups: bool

    def describe(self) -> str:
        helper, denied = if_set(self.by_helper, ", by newgidmap"), if_set(self.deny_setgroups, ", setgroups denied")
        return ranges_in_words(self.mappings) + helper + denied


class MakeNetwork(HostStep):
    """Make the network namespace, and send it to init."""

    words = "a new one, while init mounts"
    tells = "network"


class EnterNetwork(InitStep):
    """Enter the network namespace."""

    words = "the one that the host has made"
    awaits = "network"


class UnshareIpc(InitStep):
    """Make the IPC namespace, as root of the user namespace."""

    words = "a new one, in which root owns the message queues"


class UnshareCgroup(InitStep):
    """Make the cgroup namespace."""

    words = "a new one, rooted at the container's cgroup"


def ranges_in_words(mappings: Triples) -> str:
    """Describe a map: inside+size ← outside."""
    return ", ".join(f"{inside}+{size} ← {outside}" for inside, outside, size in mappings)


def flags_of(kinds: Iterable[str]) -> int:
    """Return the CLONE_NEW… flags of these kinds, for clone(2), unshare(2) and setns(2)."""
    flags = 0
    for kind in kinds:
        flags |= CLONE_FLAGS[kind]
    return flags


def needs_stages(planner: Planner) -> bool:
    """Whether one clone3 is not enough to make the init process."""
    return bool(planner.namespaces.joined) or "time" in planner.namespaces.new


def clones_mounts(host: Host) -> bool:
    """Whether open_tree(2) lets the runtime copy mounts, which needs CAP_SYS_ADMIN over its mount namespace."""
    return host.clones_mounts and bool(host.capabilities >> CAP_SYS_ADMIN & 1)


def is_watched(planner: Planner) -> bool:
    """Whether others may look at init from the beginning: in a joined pid namespace, with CAP_SYS_PTRACE over the
    runtime's own user namespace (ptrace(2)). Without privileges there, the runtime could not join such a namespace."""
    return "pid" in planner.namespaces.joined and clones_mounts(planner.host)


def enters_last(planner: Planner) -> bool:
    """Whether init enters a joined pid namespace only after its root is the container's, and covered.

    Not with a user namespace: once inside it, init may lack the privilege to enter.
    """
    return is_watched(planner) and "user" not in planner.namespaces.all


def mounts_at_once(planner: Planner) -> bool:
    """Whether init begins to mount while the host makes the network namespace, and does not wait for the saved state.

    This is safe: mounts in init's own mount namespace end with init, since they are not shared with the host's, and
    init ends if create is killed. With a user namespace init waits for the id maps. A runtime in a user namespace may
    be unable to return to its own network namespace (setns(2)).
    """
    host, new = planner.host, planner.namespaces.new
    return (
        not (host.rootless or host.in_user_namespace)
        and "mount" in new
        and "user" not in new
        and not needs_stages(planner)
        and (planner.config.get("linux") or {}).get("rootfsPropagation") not in ("shared", "rshared")
    )


def plan_network(planner: Planner) -> None:
    """Have init wait for the host before it mounts anything but new filesystems, and enter the network namespace that
    the host has made meanwhile: no other kind takes the kernel as long."""
    new = planner.namespaces.new
    if "network" in new:
        planner.on_host(MakeNetwork(new["network"]))
        planner.in_init(EnterNetwork(new["network"]))
    else:
        planner.on_host(TellInit(barrier="begin"))
        planner.in_init(WaitForHost(barrier="begin"))


def plan_join(planner: Planner) -> None:
    """Open the joined namespaces while host paths can still be walked with the host's privileges."""
    linux = planner.config.get("linux") or {}
    for member, mappings in (("uidMappings", linux.get("uidMappings")), ("gidMappings", linux.get("gidMappings"))):
        if mappings and "user" not in planner.namespaces.all:
            planner.warn("/linux/" + member, "has no effect without a user namespace in linux.namespaces")
    for kind, (path, pointer) in planner.namespaces.joined.items():
        planner.on_host(OpenNamespace(pointer, kind=kind, path=path))


def plan_clone(planner: Planner) -> None:
    """The clone itself."""
    config, new, joined = planner.config, planner.namespaces.new, planner.namespaces.joined
    if not needs_stages(planner):
        into_cgroup = _into_cgroup(planner)
        later = {
            "cgroup": not into_cgroup,
            "ipc": unshares_ipc(planner),
            "network": mounts_at_once(planner),
        }
        kinds = tuple(kind for kind in new if not later.get(kind))
        planner.on_host(Clone("/linux/namespaces", kinds=kinds, into_cgroup=into_cgroup))
        return
    last = enters_last(planner)
    planner.on_host(
        CloneStage(
            "/linux/namespaces",
            joined=tuple((kind, pointer) for kind, (_, pointer) in joined.items() if kind != "pid" or not last),
            drop_groups="user" in joined and not keeps_groups(config),
            user="user" in new,
            unshared=tuple(kind for kind in new if kind not in ("cgroup", "user")),
            forks=not last and any(kind in new or kind in joined for kind in ("pid", "time")),
            watched=not last and is_watched(planner),
            clocks="time" in new and bool((config.get("linux") or {}).get("timeOffsets")),
        )
    )


def unshares_ipc(planner: Planner) -> bool:
    """Whether init makes its IPC namespace itself: /dev/mqueue belongs to its creator (mq_overview(7)), which must be
    root of the new user namespace; but root is not mapped until the maps are written."""
    new = planner.namespaces.new
    return "user" in new and "ipc" in new and not needs_stages(planner)


def plan_unshare_ipc(planner: Planner) -> None:
    """Make the IPC namespace if the clone does not."""
    if unshares_ipc(planner):
        planner.in_init(UnshareIpc(planner.namespaces.new["ipc"]))


def _into_cgroup(planner: Planner) -> bool:
    # systemd makes the cgroup once there is a process for it.
    host = planner.host
    late = host.rootless or planner.options.systemd_cgroup or needs_stages(planner)
    return host.cgroup_mode == "v2" and not late


def plan_stage(planner: Planner) -> None:
    """What the host does for the stage before init, which is already in its cgroup."""
    planner.on_host(TellInit("/linux/namespaces", barrier="joined"))
    new = planner.namespaces.new
    if "user" in new:
        planner.on_host(WaitForInit(new["user"], barrier="user"))
        plan_id_maps(planner)
        planner.on_host(TellInit(new["user"], barrier="mapped"))
    if "time" in new:
        planner.on_host(WaitForInit(new["time"], barrier="time"))
        if NAMESPACE_CONTENTS in planner.rare:
            from ocipy.plan import namespace_contents

            namespace_contents.plan_time_offsets(planner)
        planner.on_host(TellInit(new["time"], barrier="offset"))


def plan_unshare_cgroup(planner: Planner) -> None:
    """Make a cgroup namespace that the clone could not make."""
    new = planner.namespaces.new
    if "cgroup" in new and not _into_cgroup(planner):
        planner.in_init(UnshareCgroup(new["cgroup"]))


def id_maps(planner: Planner) -> tuple[Sequence[IDMapping], Sequence[IDMapping]]:
    """Return the maps of user and group ids; empty if the container has no user namespace."""
    if "user" not in planner.namespaces.all:
        return (), ()
    linux = planner.config.get("linux") or {}
    return linux.get("uidMappings") or (), linux.get("gidMappings") or ()


def plan_id_maps(planner: Planner) -> None:
    """Write the maps of a new user namespace."""
    host = planner.host
    if "user" not in planner.namespaces.new:
        return
    uids, gids = map(triples, id_maps(planner))
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
    planner.on_host(UidMap("/linux/uidMappings", mappings=uids, by_helper=_by_helper(uids, host.uid, host)))
    planner.on_host(
        GidMap(
            "/linux/gidMappings",
            mappings=gids,
            by_helper=_by_helper(gids, host.gid, host),
            deny_setgroups=denies_setgroups(planner),
        )
    )


def _by_helper(mappings: Sequence[tuple[int, int, int]], own: int, host: Host) -> bool:
    """A user may map one id, their own, without a helper. Root of a user namespace maps its own ids itself."""
    return host.rootless and host.uid != 0 and not _is_own(mappings, own)


def _is_own(mappings: Sequence[tuple[int, int, int]], own: int) -> bool:
    return len(mappings) == 1 and mappings[0][1:] == (own, 1)


def denies_setgroups(planner: Planner) -> bool:
    """A user who writes gid_map directly must first deny setgroups (user_namespaces(7))."""
    host = planner.host
    _, gids = id_maps(planner)
    return host.rootless and host.uid != 0 and _is_own(triples(gids), host.gid)


def triples(mappings: Sequence[IDMapping]) -> tuple[tuple[int, int, int], ...]:
    """Return (inside, outside, size) of each entry."""
    return tuple((entry["containerID"], entry["hostID"], entry["size"]) for entry in mappings)

"""process.user: the ids of the container's process, and those of init during setup."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.plan.capabilities import plan_bounding
from ocipy.plan.fields import user_of
from ocipy.plan.model import InitStep, if_set
from ocipy.plan.namespaces import denies_setgroups, id_maps, joined_kinds, keeps_groups, new_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.config.types import IDMapping
    from ocipy.plan.model import Planner

POINTER = "/process/user"
# (uid_t)-1, which means "unchanged" in the system calls (setresuid(2)).
NO_ID = 0xFFFFFFFF


class BecomeRoot(InitStep):
    """Take ids 0 of a user namespace. uid, gid: the process's, which owns the streams. drop_groups: the caller's."""

    uid: int
    gid: int
    drop_groups: bool

    def describe(self) -> str:
        return "uid 0 and gid 0 in the user namespace" + if_set(self.drop_groups, ", without additional groups")


class StdioOwner(InitStep):
    """Give the standard streams to the user."""

    uid: int

    def describe(self) -> str:
        return f"user {self.uid} becomes the owner of pipes, sockets and files"


class Groups(InitStep):
    """setgroups(2). gid: the process's."""

    gids: tuple[int, ...]
    gid: int

    def describe(self) -> str:
        return " ".join(map(str, self.gids)) or "none"


class GidUid(InitStep):
    """setresgid(2), then setresuid(2)."""

    uid: int
    gid: int

    def describe(self) -> str:
        return f"gid {self.gid}, uid {self.uid}"


def plan_become_root(planner: Planner) -> None:
    """In a user namespace init is nobody until it takes a mapped id."""
    config = planner.config
    if "user" not in new_kinds(config) and "user" not in joined_kinds(config):
        return
    user = user_of(config)
    planner.add(
        BecomeRoot(
            "/linux/uidMappings",
            uid=user.get("uid") or 0,
            gid=user.get("gid") or 0,
            drop_groups=not denies_setgroups(config, planner.host) and not keeps_groups(config),
        )
    )


def plan_identity(planner: Planner) -> None:
    """Bounding set, owner of the standard streams, groups, gid and uid, in this order."""
    config = planner.config
    user = user_of(config)
    uid = user.get("uid") or 0
    gid = user.get("gid") or 0
    # podman sends its own group with the annotation.
    additional = () if keeps_groups(config) else tuple(user.get("additionalGids") or ())
    if "user" in new_kinds(config):
        uid_map, gid_map = id_maps(config)
        _check_mapped(uid, uid_map, "uid", POINTER + "/uid")
        _check_mapped(gid, gid_map, "gid", POINTER + "/gid")
        for index, number in enumerate(additional):
            _check_mapped(number, gid_map, "gid", f"{POINTER}/additionalGids/{index}")
    assert NO_ID not in (uid, gid, *additional)

    plan_bounding(planner)
    planner.add(StdioOwner(POINTER + "/uid", uid=uid))
    if not keeps_groups(config):
        _plan_groups(planner, additional, gid)
    planner.add(GidUid(POINTER, uid=uid, gid=gid))


def _plan_groups(planner: Planner, additional: tuple[int, ...], gid: int) -> None:
    pointer = POINTER + "/additionalGids"
    if denies_setgroups(planner.config, planner.host):
        if set(additional) - {gid}:
            raise Error(
                "additional groups cannot be set: without privileges the user namespace must deny setgroups",
                pointer=pointer,
                hint="assign group ids to the user in /etc/subgid, or remove the groups",
            )
        return
    planner.add(Groups(pointer, gids=additional, gid=gid))


def _check_mapped(number: int, mappings: Sequence[IDMapping], kind: str, pointer: str) -> None:
    if not any(entry["containerID"] <= number < entry["containerID"] + entry["size"] for entry in mappings):
        raise Error(f"{kind} {number} is not mapped in the container's user namespace", pointer=pointer)

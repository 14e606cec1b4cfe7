"""process.user: the ids of the container's process, and those of init during setup."""

from __future__ import annotations

from ocipy.config.ids import keeps_groups
from ocipy.errors import Error
from ocipy.linux.constants import NO_ID
from ocipy.plan.capabilities import plan_bounding
from ocipy.plan.fields import user_of
from ocipy.plan.model import InitStep, if_set
from ocipy.plan.namespaces import denies_setgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner

POINTER = "/process/user"


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
    if "user" not in planner.namespaces.all:
        return
    user = user_of(config)
    planner.in_init(
        BecomeRoot(
            "/linux/uidMappings",
            uid=user.get("uid") or 0,
            gid=user.get("gid") or 0,
            drop_groups=not denies_setgroups(planner) and not keeps_groups(config),
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
    assert NO_ID not in (uid, gid, *additional)

    plan_bounding(planner)
    planner.in_init(StdioOwner(POINTER + "/uid", uid=uid))
    if not keeps_groups(config):
        _plan_groups(planner, additional, gid)
    planner.in_init(GidUid(POINTER, uid=uid, gid=gid))


def _plan_groups(planner: Planner, additional: tuple[int, ...], gid: int) -> None:
    pointer = POINTER + "/additionalGids"
    if denies_setgroups(planner):
        if set(additional) - {gid}:
            raise Error(
                "additional groups cannot be set: without privileges the user namespace must deny setgroups",
                pointer=pointer,
                hint="assign group ids to the user in /etc/subgid, or remove the groups",
            )
        return
    planner.in_init(Groups(pointer, gids=additional, gid=gid))

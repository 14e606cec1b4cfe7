"""Id-mapped bind mounts: mounts[].uidMappings and gidMappings, and the options idmap and ridmap.

The kernel takes the map from a user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP): the host lane makes one for each
map, or opens the container's if that is joined.
"""

from __future__ import annotations

from ocipy.config.mount_options import parse_idmap
from ocipy.errors import Error
from ocipy.linux.constants import NO_ID
from ocipy.plan.lane import plan_procfs
from ocipy.plan.model import HostStep
from ocipy.plan.namespaces import id_maps, ranges_in_words, triples

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.mount_options import MountEntry
    from ocipy.plan.model import Planner
    from ocipy.plan.namespaces import Triples

IDENTITY = ((0, 0, NO_ID),)


class IdmapJoin(HostStep):
    """Open the user namespace that the container joins, as a map for mounts."""

    path: str

    def describe(self) -> str:
        return "the ids of " + self.path


class IdmapSource(HostStep):
    """Make a user namespace with these maps, for the mounts that need them."""

    uids: Triples
    gids: Triples

    def describe(self) -> str:
        return "a user namespace with uids " + ranges_in_words(self.uids)


def plan_idmap(planner: Planner, mount: MountEntry) -> str:
    """Plan the user namespace that maps this mount, once for all mounts with the same maps. Returns its pointer."""
    pointer = mount.pointer
    if planner.host.rootless:
        raise Error(
            "mapping the ids of a mount needs the privileges of the host's root",
            pointer=pointer + ("/options" if mount.options.idmap else "/uidMappings"),
        )
    path, _ = planner.namespaces.joined.get("user", ("", ""))
    given = _given(planner, mount)
    if given is None and path:
        for step in planner.plan.host:
            if isinstance(step, IdmapJoin):
                return step.pointer
        planner.on_host(IdmapJoin(pointer, path=path))
        return pointer
    uids, gids = given or (triples(id_maps(planner)[0]), triples(id_maps(planner)[1]))
    assert uids and gids
    for step in planner.plan.host:
        if isinstance(step, IdmapSource) and (step.uids, step.gids) == (uids, gids):
            return step.pointer
    plan_procfs(planner)
    planner.on_host(IdmapSource(pointer, uids=uids, gids=gids))
    return pointer


def _given(planner: Planner, mount: MountEntry) -> tuple[Triples, Triples] | None:
    """Return the mount's own maps, or None."""
    uids, gids = mount.given.get("uidMappings") or (), mount.given.get("gidMappings") or ()
    if uids:
        return triples(uids), triples(gids)
    return _parse_text(planner, mount.options.idmap_text) if mount.options.idmap_text else None


def _parse_text(planner: Planner, text: str) -> tuple[Triples, Triples]:
    """Return the maps of idmap=…; the container's own for ids that the text does not map."""
    maps = dict(zip(("uids", "gids"), id_maps(planner), strict=True))
    found: dict[str, Triples] = {kind: triples(mappings) or IDENTITY for kind, mappings in maps.items()}
    found |= parse_idmap(text, maps)
    return found["uids"], found["gids"]

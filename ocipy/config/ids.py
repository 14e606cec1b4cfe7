"""The ids of the container's process in its user namespace. Hot and pure, for create and exec."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.config.types import Config, IDMapping, User

    Findings = list[tuple[str, str]]


def keeps_groups(config: Config) -> bool:
    """crun's annotation, which podman sets for `--group-add keep-groups`: true for any value except "0"."""
    return (config.get("annotations") or {}).get("run.oci.keep_original_groups", "0") != "0"


def unmapped(config: Config) -> Findings:
    """Return (JSON pointer, text) of each id of the process that a new user namespace does not map.

    The config does not contain the maps of a joined namespace. Groups that the process keeps need no mapping.
    """
    linux = config.get("linux") or {}
    if not any(entry["type"] == "user" and not entry.get("path") for entry in linux.get("namespaces") or ()):
        return []
    uids, gids = linux.get("uidMappings"), linux.get("gidMappings")
    if not uids or not gids or not all(entry["size"] for entry in (*uids, *gids)):
        return []  # semantic_linux.py reports that
    process = config.get("process")
    user: User = (process.get("user") if process else None) or {}
    found: Findings = []
    _check("uid", user.get("uid") or 0, uids, "/process/user/uid", found)
    _check("gid", user.get("gid") or 0, gids, "/process/user/gid", found)
    for index, number in enumerate(() if keeps_groups(config) else user.get("additionalGids") or ()):
        _check("gid", number, gids, f"/process/user/additionalGids/{index}", found)
    return found


def _check(kind: str, number: int, mappings: Sequence[IDMapping], pointer: str, found: Findings) -> None:
    if not any(entry["containerID"] <= number < entry["containerID"] + entry["size"] for entry in mappings):
        found.append((pointer, f"{kind} {number} is not mapped in the container's user namespace"))

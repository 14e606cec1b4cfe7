"""Paths of containers' cgroups as text. Pure."""

from __future__ import annotations

from ocipy.linux.paths import clean


def join(base: str, path: str) -> str:
    """Return `path` below `base`, cleaned so that it cannot lead out of it."""
    return clean(base + clean("/" + path))


def container_path(wanted: str, container_id: str, own: str, mode: str) -> str:
    """Return the path of a container's cgroup below the mount point.

    wanted: linux.cgroupsPath, "" if missing. An absolute path starts at the top of the hierarchy. A relative path, or
    the container's id by default, starts at our own cgroup on v1. On v2 it starts at the parent of our cgroup,
    since a cgroup with processes cannot have limited children there (cgroups(7), "no internal processes" rule). runc
    does the same.
    """
    if wanted.startswith("/"):
        return clean(wanted)
    if mode == "v2":
        own = own[: own.rindex("/")] if "/" in own else ""
    return join(own, wanted or container_id)


def is_within(path: str, base: str) -> bool:
    """Whether `path` is `base` or below it, compared by components, and has no "..". Both are absolute."""
    return clean(path) == path and (path == base or path.startswith(base.rstrip("/") + "/"))

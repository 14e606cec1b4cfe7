"""Paths of cgroups as text: where a container's is. Pure."""

from __future__ import annotations

from ocipy.linux.paths import clean


def join(base: str, path: str) -> str:
    """Return `path`, cleaned, below `base`: it cannot lead above it."""
    return clean(base + clean("/" + path))


def container_path(wanted: str, container_id: str, own: str, mode: str) -> str:
    """Return the path of a container's cgroup below the mount point.

    wanted: linux.cgroupsPath, "" if missing. Absolute: from the top. Relative, or missing (the container's id): below
    our own cgroup, on v2 next to it, since there a cgroup with processes cannot have limited ones below it ("no
    internal process constraint" of cgroups(7)). These are runc's places.
    """
    if wanted.startswith("/"):
        return clean(wanted)
    if mode == "v2":
        own = own[: own.rindex("/")] if "/" in own else ""
    return join(own, wanted or container_id)


def is_within(path: str, base: str) -> bool:
    """Whether `path` is `base` or below it, by components, and without leading out by "..". Both are absolute."""
    return clean(path) == path and (path == base or path.startswith(base.rstrip("/") + "/"))

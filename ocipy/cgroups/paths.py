"""Paths as text: where a container's cgroup is, and what a path of the config means. Pure."""

from __future__ import annotations


def clean(path: str) -> str:
    """An absolute path without "", "." and "..", which stops at the top: nothing leads out of it."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept)


def join(base: str, path: str) -> str:
    """`path`, cleaned, below `base`: it cannot lead above it."""
    return clean(base + clean("/" + path))


def container_path(wanted: str, container_id: str, own: str, mode: str) -> str:
    """The path of a container's cgroup below the mount point.

    wanted: linux.cgroupsPath, "" if there is none. Absolute: from the top. Relative, or none (the container's id):
    below our own cgroup, on v2 beside it, since there a cgroup that has processes may have no limited ones below
    ("no internal process constraint" of cgroups(7)). These are runc's places.
    """
    if wanted.startswith("/"):
        return clean(wanted)
    if mode == "v2":
        own = own[: own.rindex("/")] if "/" in own else ""
    return join(own, wanted or container_id)


def is_within(path: str, base: str) -> bool:
    """`path` is `base` or below it, by components, and does not lead back out by "..". Both are absolute."""
    return clean(path) == path and (path == base or path.startswith(base.rstrip("/") + "/"))

"""Writes the id maps of another process's user namespace."""

from __future__ import annotations

from pathlib import Path

from ocipy.box.tools import output_of
from ocipy.errors import reported_as

# (inside, outside, size) of each entry (user_namespaces(7)).
IdMap = tuple[tuple[int, int, int], ...]


def map_ids(pid: int, id_maps: tuple[IdMap, IdMap]) -> None:
    """Write the uid map and the gid map of another process's user namespace (user_namespaces(7)). Raises Error."""
    for file, entries in zip(("uid_map", "gid_map"), id_maps, strict=True):
        _map(pid, file, entries)


def _map(pid: int, file: str, entries: IdMap) -> None:
    numbers = [str(number) for entry in entries for number in entry]
    if len(entries) > 1:
        words = ["newuidmap" if file == "uid_map" else "newgidmap", str(pid), *numbers]
        output_of(words, "cannot write the id map")
        return
    with reported_as(f"cannot write /proc/PID/{file}"):
        if file == "gid_map":  # the only way without CAP_SETGID
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/{file}").write_text(" ".join(numbers))

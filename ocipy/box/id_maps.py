"""Writes the id maps of another process's user namespace."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ocipy import Error
from ocipy.errors import reported_as

# (inside, outside, size) of each entry (user_namespaces(7)).
IdMap = tuple[tuple[int, int, int], ...]


def map_ids(pid: int, id_maps: tuple[IdMap, IdMap]) -> None:
    """Write the maps of users and groups of another process's user namespace (user_namespaces(7)). Raises Error."""
    for file, entries in zip(("uid_map", "gid_map"), id_maps, strict=True):
        _map(pid, file, entries)


def _map(pid: int, file: str, entries: IdMap) -> None:
    numbers = [str(number) for entry in entries for number in entry]
    if len(entries) > 1:
        words = ["newuidmap" if file == "uid_map" else "newgidmap", str(pid), *numbers]
        try:
            done = subprocess.run(words, check=False, capture_output=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise Error(f"{words[0]} is not installed", hint="install the package uidmap") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
            raise Error(
                f"cannot write the id map: {said}", hint="/etc/subuid and /etc/subgid list the ids of each user"
            )
        return
    with reported_as(f"cannot write /proc/PID/{file}"):
        if file == "gid_map":  # the only way without CAP_SETGID
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/{file}").write_text(" ".join(numbers))

"""Apply a change of limits as a whole: if a write fails, undo those before it."""

from __future__ import annotations

from ocipy import log
from ocipy.cgroups import files
from ocipy.errors import Error
from ocipy.linux.text import lines_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ocipy.cgroups.cgroup import Cgroup
    from ocipy.cgroups.writes import Action

    # Files and their former content.
    Undo = list[tuple[str, str]]


def apply(cgroup: Cgroup, actions: Iterable[Action]) -> Undo:
    """Carry out the actions that resources.py made. Returns what `restore` needs.

    If one fails, undoes the others and raises Error with the failed action's pointer.
    """
    undo: Undo = []
    try:
        for action in actions:
            try:
                if action[0] == "cgroup_write":
                    write = action[2]
                    undo += _before(cgroup, write["controller"], write["file"], write["value"])
                    if "other_file" in write:
                        undo += _before(cgroup, write["controller"], write["other_file"], write["value"])
                    cgroup.write(**write)
                else:
                    cgroup.check_memory(**action[2])
            except Error as error:
                error.pointer = error.pointer or action[1]
                raise
    except (Error, OSError):
        restore(undo)
        raise
    return undo


def _before(cgroup: Cgroup, controller: str, file: str, value: str) -> Undo:
    path = cgroup.path_of(controller) + "/" + file
    try:
        return [(path, replaced_part(file, files.read(path), value))]
    except OSError:  # no such file: the write reports it, or has an alternative
        return []


def replaced_part(file: str, text: str, value: str) -> str:
    """Return the part of a control file's text that a value will replace: the same device's line, or the only line.

    For a device without a line, return the line that removes its limit, since it has none now."""
    lines = lines_of(text) or [""]
    key = value.partition(" ")[0]
    found = next((line for line in lines if line.startswith(key + " ")), None)
    if found is None and ":" in key:
        return key + " " + _unlimited(file)
    return lines[0] if found is None else found


def _unlimited(file: str) -> str:
    if file == "io.max":
        return "rbps=max wbps=max riops=max wiops=max"
    return "default" if "weight" in file else "0"


def restore(undo: Undo) -> None:
    """Write back the former content. Retry refused values once at the end, since some depend on others."""
    failed: Undo = []
    for path, value in reversed(undo):
        try:
            files.write(path, value)
        except OSError:
            failed.append((path, value))
    for path, value in failed:
        try:
            files.write(path, value)
        except OSError as error:
            log.warning(f"cannot restore {path} to {value!r}: {error.strerror}")

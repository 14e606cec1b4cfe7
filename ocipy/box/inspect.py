"""`box inspect`: everything that is known about a box, as a document and as text."""

from __future__ import annotations

import os
import re
from typing import Any

from ocipy.box.box import Box
from ocipy.box.cgroup import usage
from ocipy.box.processes import pids_of
from ocipy.box.sizes import shown_size
from ocipy.errors import printable

SIZES = {"memory", "memory_swap", "memory_reservation", "memoryPeak", "memoryLimit", "shm_size"}
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def inspect(box: Box) -> dict[str, Any]:
    """State, limits, usage, namespaces, addresses, mounts. Figures are None if it does not run."""
    record, state = box.record, box.state()
    pid = state.pid if state is not None and box.is_running() else 0
    return {
        "id": record.id,
        "name": record.name,
        "image": {"name": record.image_name, "key": record.image_key, "rootfs": record.rootfs},
        "labels": {**record.image.labels, **dict(record.request.labels)},
        "copyOnWrite": record.copy_on_write._asdict(),
        "state": {
            "status": box.status(),
            "pid": pid,
            "exitStatus": record.exit_status,
            "oomKilled": record.oom_kills > 0,
            "oomKills": record.oom_kills,
            "created": record.created.isoformat(),
            "started": record.started.isoformat() if record.started else None,
            "finished": record.finished.isoformat() if record.finished else None,
        },
        "request": record.request.to_json(),
        "usage": usage(box.cgroup()) if pid else None,
        "processes": pids_of(box.container) if pid else [],
        "namespaces": namespaces(pid) if pid else {},
        "addresses": list(record.addresses),
        "mounts": mounts(pid) if pid else [],
        "directory": str(box.directory.path),
        "bundle": str(box.directory.bundle),
        "log": str(box.directory.log),
    }


def namespaces(pid: int) -> dict[str, int]:
    """The inode of each namespace of a process (namespaces(7)); leaves out any that cannot be read."""
    found = {}
    for kind in NAMESPACES:
        try:
            found[kind] = os.stat(f"/proc/{pid}/ns/{kind}").st_ino
        except OSError:
            continue
    return found


def mounts(pid: int) -> list[dict[str, str]]:
    """The mounts that a process sees (proc_pid_mountinfo(5)); [] if they cannot be read."""
    try:
        with open(f"/proc/{pid}/mountinfo", "rb") as file:
            return mounts_in(file.read())
    except OSError:
        return []


def mounts_in(mountinfo: bytes) -> list[dict[str, str]]:
    """destination, type, source and options of each line. Pure."""
    found = []
    for line in mountinfo.split(b"\n"):
        before, separator, after = line.partition(b" - ")
        if separator:
            point, options = before.split(b" ")[4:6]
            kind, source, _ = after.split(b" ", 2)
            fields = {"destination": point, "type": kind, "source": source, "options": options}
            found.append({name: _unescaped(value) for name, value in fields.items()})
    return found


def _unescaped(field: bytes) -> str:
    """Undo the octal escapes of space, tab, newline and backslash (proc_pid_mountinfo(5))."""
    return re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8) & 0xFF]), field).decode("utf-8", "replace")


def as_text(document: dict[str, Any], indent: str = "") -> str:
    """A document as text: a name and a value per line, empty values left out, sizes with their unit.

    Names and values may come from an image, so they are made printable.
    """
    lines = []
    for name, value in ((printable(name), value) for name, value in document.items()):
        if _is_empty(value):
            continue
        if isinstance(value, dict):
            below = as_text(value, indent + "  ")
            lines += [f"{indent}{name}:", below] if below else []
        elif isinstance(value, list) and isinstance(value[0], dict):
            lines += [f"{indent}{name}:", *(f"{indent}  {_shown(list(one.values()))}" for one in value)]
        elif isinstance(value, list | tuple):
            lines.append(f"{indent}{name}: " + " ".join(_shown(one, "=") for one in value))
        else:
            lines.append(f"{indent}{name}: {shown_size(value) if name in SIZES and value >= 0 else _shown(value)}")
    return "\n".join(line for line in lines if line.strip())


def _is_empty(value: object) -> bool:
    """0 is not empty: it may be an exit status, or a count of kills."""
    return value is None or value is False or value in ("", [], {}, ())


def _shown(value: object, between: str = " ") -> str:
    """between: what joins the parts of an element, such as a label's name and value."""
    if isinstance(value, list | tuple):
        return between.join(_shown(one) for one in value if not _is_empty(one))
    return printable(str(value))

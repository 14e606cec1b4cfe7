"""update: change the schema of a container's class of service (linux.intelRdt)."""

from __future__ import annotations

import posix

from ocipy.errors import Error, reported_as
from ocipy.host.intel_rdt import top_of_resctrl, write_schema
from ocipy.linux import _kernel, resctrl
from ocipy.linux.files import read_file, write_file
from ocipy.plan.intel_rdt import POINTER
from ocipy.state.directory import lock
from ocipy.state.state import CONFIG_FILE, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ocipy.state.state import State

# The flag's member of linux.intelRdt, and how its value begins (config-linux.md, IntelRdt).
MEMBERS = {"l3CacheSchema": "L3", "memBwSchema": "MB"}

# In runc's words.
NOT_ENABLED = {
    "l3CacheSchema": "Intel RDT/CAT: l3 cache schema is not enabled",
    "memBwSchema": "Intel RDT/MBA: memory bandwidth schema is not enabled",
}


def update_schemata(root: str, container_id: str, schemas: dict[str, str]) -> Callable[[], None]:
    """Write the schemas, by member of linux.intelRdt, and put them into the saved config.

    Either all of them take effect or none. Returns a function that undoes this. Raises Error.
    """
    for member, line in schemas.items():
        if not line.startswith(MEMBERS[member] + ":") or "\n" in line:
            raise Error(f"must be one line that begins with {MEMBERS[member]}:", pointer=f"{POINTER}/{member}")
    lock_fd = lock(load(root, container_id).directory)
    try:
        with reported_as("cannot update the container", pointer=POINTER):
            return _update(load(root, container_id), schemas)
    finally:
        posix.close(lock_fd)


def _update(state: State, schemas: dict[str, str]) -> Callable[[], None]:
    if state.status() not in ("created", "running", "paused"):
        raise Error("container not running")
    if state.rdt is None:
        raise Error(
            NOT_ENABLED[next(iter(schemas))],
            pointer=POINTER,
            hint="the container has no class of service: its config has no linux.intelRdt",
        )
    group, top = state.rdt["group"], top_of_resctrl()
    before = read_file(group + "/" + resctrl.SCHEMATA)
    path = state.directory + "/" + CONFIG_FILE
    saved = read_file(path)

    def undo() -> None:
        for resource in MEMBERS.values():
            line = resctrl.line_of(before, resource)
            if line:
                write_schema(group, top, line)
        write_file(path, saved)

    try:
        for member in MEMBERS:
            if member in schemas:
                _write(group, top, member, schemas[member])
        write_file(path, _kernel.json_dumps(_with(_kernel.json_loads(saved), schemas)))
    except (Error, OSError):
        undo()
        raise
    return undo


def _write(group: str, top: str, member: str, line: str) -> None:
    try:
        write_schema(group, top, line)
    except Error as error:
        error.pointer = f"{POINTER}/{member}"
        raise


def _with(config: Any, schemas: dict[str, str]) -> Any:
    linux = config["linux"]
    return {**config, "linux": {**linux, "intelRdt": {**(linux.get("intelRdt") or {}), **schemas}}}

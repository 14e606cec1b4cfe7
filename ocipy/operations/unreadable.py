"""delete --force of a container whose state cannot be read: find its leftovers from other sources. Cold.

Its process and its cgroup are unknown then. The config that create saved gives the path that create computed, if it
was called from the same cgroup. An empty cgroup there is removed. Processes there may belong to another container by
now: they are not killed, and a warning names the path.
"""

from __future__ import annotations

import posix
from time import sleep

from ocipy import log
from ocipy.cgroups import files
from ocipy.cgroups.creation import locate
from ocipy.cgroups.layout import probe
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.state.state import CONFIG_FILE, read_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config

GLANCES = 50
PAUSE = 0.01  # seconds


def clear(directory: str, container_id: str) -> None:
    """Remove its cgroup if that is empty; warn about possible leftovers. directory: that of the state."""
    try:
        config: Config = _kernel.json_loads(read_own(directory + "/" + CONFIG_FILE))
        wanted = (config.get("linux") or {}).get("cgroupsPath") or ""
        hooks = (config.get("hooks") or {}).get("poststop")
        if not isinstance(wanted, str):
            raise TypeError
    except (OSError, Error, ValueError, AttributeError, TypeError):
        log.warning("neither the state nor the saved config can be read: a cgroup of the container may remain")
        return
    if hooks:
        log.warning("the state cannot be read: the poststop hooks are not run")
    if wanted.count(":") == 2 and not wanted.startswith("/"):
        log.warning(f"the state cannot be read: if systemd made a unit for cgroupsPath {wanted}, it may remain")
        return
    _remove_empty(wanted, container_id)


def _remove_empty(wanted: str, container_id: str) -> None:
    layout = probe()
    paths = [path for path in locate(layout, wanted, container_id).paths.values() if files.is_present(path)]
    if not paths:
        named = wanted if wanted.startswith("/") else f"named {wanted or container_id}"
        log.warning(f"the state cannot be read, and no cgroup {named} is visible here: if there is one, it remains")
    for path in paths:
        try:
            count = _wait_empty(path)
            if not count:
                files.walk(path, leave=lambda above, name: posix.rmdir(name, dir_fd=above))
                posix.rmdir(path)
        except OSError as error:
            log.warning(f"the state cannot be read, and the cgroup {path} remains: {posix.strerror(error.errno or 0)}")
            continue
        if count:
            log.warning(
                f"the state cannot be read, and the cgroup {path} remains: {count} process(es) in it may belong"
                " to the container; end them, then remove it with rmdir"
            )


def _wait_empty(path: str) -> int:
    """The number of processes in it, after those that waited for start have ended."""
    count = len(files.processes(path))
    for _ in range(GLANCES):
        if not count:
            break
        sleep(PAUSE)
        count = len(files.processes(path))
    return count

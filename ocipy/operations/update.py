"""update: change the limits of a container that has not ended."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.cgroups import applying
from ocipy.cgroups.cgroup import Cgroup
from ocipy.cgroups.changes import affected, merged
from ocipy.cgroups.layout import probe
from ocipy.cgroups.resources import early, limits
from ocipy.config import semantic_resources
from ocipy.config.check import check_resources, forget
from ocipy.errors import Error, reported_as
from ocipy.linux import _kernel
from ocipy.linux.files import read_file, write_file
from ocipy.plan.fields import RESOURCES, resources_of
from ocipy.state.directory import lock
from ocipy.state.state import CONFIG_FILE, State, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.cgroups.layout import Layout
    from ocipy.cgroups.writes import Action
    from ocipy.config.check import Unknown
    from ocipy.config.types import Config, Resources


def update(root: str, container_id: str, change: Resources) -> None:
    """Change linux.resources, in the cgroup and in the saved config.

    change: missing members stay as they are. Either all of it takes effect or nothing. Raises Error.
    """
    unknown: Unknown = []
    failure = check_resources(change, unknown)
    if failure is not None:
        raise Error(failure[1], pointer=RESOURCES + failure[0])
    forget(unknown)
    lock_fd = lock(_living(root, container_id).directory)
    try:
        with reported_as("cannot update the container"):
            state = _living(root, container_id)
            path = state.directory + "/" + CONFIG_FILE
            config: Config = _kernel.json_loads(read_file(path))
            before = (config.get("linux") or {}).get("resources") or {}
            wanted = _change(config, change, unit=bool(state.cgroup and state.cgroup.get("systemd")))
            layout = probe()
            actions = [
                *early(wanted, layout.mode, layout.controllers).actions,
                *limits(wanted, layout.mode, layout.controllers).actions,
            ]
            if actions:
                _carry_out(state, actions, path, config, (before, wanted))
    finally:
        posix.close(lock_fd)


def _living(root: str, container_id: str) -> State:
    state = load(root, container_id)
    if state.status() not in ("created", "running", "paused"):
        raise Error("container not running")
    return state


def _change(config: Config, change: Resources, *, unit: bool) -> Resources:
    """Put the change into the config. Returns the part of the resources that it affects. Raises Error.

    unit: the cgroup is that of a systemd unit.
    """
    linux = config.get("linux") or {}
    old = linux.get("resources") or {}
    devices = change.get("devices")
    if devices and devices != old.get("devices"):
        # As in runc: rules that others added meanwhile (a driver's hook) would be lost.
        log.warning(f"{RESOURCES}/devices: update does not change the device rules")
    new = merged(old, change)
    found: list[tuple[str, str]] = []
    semantic_resources.errors(new, found)
    if found:
        raise Error(found[0][1], pointer=found[0][0])
    config["linux"] = {**linux, "resources": new}
    part: Config = {**config, "linux": {"resources": affected(new, change)}}
    wanted = resources_of(part, limited=((old.get("pids") or {}).get("limit") or 0) > 0)
    if unit:
        from ocipy.systemd.properties import rounded

        wanted = rounded(wanted)
    return wanted


def _carry_out(
    state: State, actions: list[Action], path: str, config: Config, resources: tuple[Resources, Resources]
) -> None:
    """Write the limits, tell systemd, and save the config. resources: the old ones, and the changed part."""
    if state.cgroup is None:
        raise Error("the container has no cgroup to limit", pointer=RESOURCES)
    cgroup = Cgroup.from_state(state.cgroup)
    if cgroup.mode == "hybrid":
        _enable_unified(cgroup, probe(), actions)
    undo = applying.apply(cgroup, actions)
    before, wanted = resources
    try:
        # After the files: we then know what the kernel refuses, and systemd writes the same values.
        _tell_systemd(cgroup, wanted)
        try:
            write_file(path, _kernel.json_dumps(config))
        except OSError:
            _tell_systemd(cgroup, before)
            raise
    except (Error, OSError):
        applying.restore(undo)
        raise


def _tell_systemd(cgroup: Cgroup, resources: Resources) -> None:
    if cgroup.systemd is not None:
        from ocipy.host.systemd import set_properties
        from ocipy.systemd.properties import for_resources

        set_properties(cgroup, for_resources(resources, cgroup.mode))


def _enable_unified(cgroup: Cgroup, layout: Layout, actions: list[Action]) -> None:
    """Enable v2 controllers of a hybrid host that are needed only now: create enabled only what it needed."""
    writes = [action[2] for action in actions if action[0] == "cgroup_write"]
    wanted = {write["file"].partition(".")[0] for write in writes if not write["controller"]}
    if wanted:
        from ocipy.cgroups.creation import enable_controllers

        enable_controllers(cgroup.path_of(""), layout.unified, tuple(sorted(wanted)))

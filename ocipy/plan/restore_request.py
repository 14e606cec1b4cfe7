"""restore: the request to criu, first from the config and the flags, then with the facts. Pure, and cold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ocipy.errors import Error
from ocipy.plan.checkpoint import (
    EXTERNAL_NAMESPACES,
    RESTORE_LOG,
    CriuFlags,
    bound_at,
    bound_from,
    bound_steps,
    cgroup1_mounts,
    common_options,
    external_namespaces,
    joined_of,
)
from ocipy.plan.fields import process_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.config.types import Config
    from ocipy.plan.model import Plan

# The namespaces that criu joins by itself at restore, by their names in /proc/PID/ns.
JOINED_NAMESPACES = {"ipc": "ipc", "mount": "mnt", "user": "user", "uts": "uts"}
LSM_PROFILE = 31600  # the version of criu that can change it


@dataclass
class RestoreFacts:
    """Facts found for a restore.

    version: criu's. root: the mount that becomes the container's root. mount_points: as in DumpFacts.
    hierarchies: the container's cgroup of each directory in a cgroup v1 mount. cgroup_roots: (controllers, path) as
    in /proc/PID/cgroup. namespace_fds: of the joined external namespaces, by kind, with criu's names.
    """

    version: int
    root: str
    mount_points: dict[str, str] = field(default_factory=dict)
    hierarchies: dict[str, str] = field(default_factory=dict)
    cgroup_roots: Sequence[tuple[str, str]] = ()
    namespace_fds: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RestoreRequest:
    """What will be asked of criu, before its version and the facts are known.

    joined: (kind, path, pointer) of the joined namespaces. bound: (place, source) of what is bound from the host.
    cgroup_mounts: destinations of mounts that hold bind mounts of the container's own cgroups (v1). masked,
    no_new_privileges: the container has them. descriptors: its standard streams at create, as in /proc/PID/fd.
    """

    flags: CriuFlags
    joined: tuple[tuple[str, str, str], ...]
    bound: tuple[tuple[str, str], ...]
    cgroup_mounts: tuple[str, ...]
    masked: bool
    no_new_privileges: bool
    descriptors: tuple[str, ...]


def restore_request(config: Config, plan: Plan, flags: CriuFlags, descriptors: Sequence[str]) -> RestoreRequest:
    """plan: create's."""
    return RestoreRequest(
        flags=flags,
        joined=joined_of(config),
        bound=tuple((bound_at(step), bound_from(step)) for step in bound_steps(plan)),
        cgroup_mounts=tuple(cgroup1_mounts(plan)),
        masked=bool((config.get("linux") or {}).get("maskedPaths")),
        no_new_privileges=bool(process_of(config).get("noNewPrivileges")),
        descriptors=tuple(descriptors),
    )


def restore_options(request: RestoreRequest, facts: RestoreFacts) -> dict[str, Any]:
    """Return the options of a RESTORE request, except the directories' descriptors. Raises Error."""
    flags = request.flags
    options = common_options(flags, RESTORE_LOG)
    options |= {"root": facts.root, "evasive_devices": True, "rst_sibling": True}
    for flag, value in (("lsm_profile", flags.lsm_profile), ("lsm_mount_context", flags.lsm_mount_context)):
        if value:
            if facts.version < LSM_PROFILE:
                raise Error(f"--{flag.replace('_', '-')} requires at least CRIU 3.16")
            options[flag] = value
    if any(kind == "network" for kind, _, _ in request.joined):
        # With it criu would lock again what the dump has locked, and criu 3.17 cannot remove both locks (its issue
        # 1435): the namespace would stay without network.
        del options["empty_ns"]
    joined = _joined_namespaces(request.joined)
    if joined:
        options["join_ns"] = joined
    if facts.cgroup_roots:
        options["cg_root"] = [{"ctrl": controllers, "path": path} for controllers, path in facts.cgroup_roots]
    inherited = [
        {"key": EXTERNAL_NAMESPACES[kind][1], "fd": facts.namespace_fds[kind]}
        for kind, _ in external_namespaces(request.joined, facts.version)
    ]
    inherited += [{"key": name, "fd": fd} for fd, name in enumerate(request.descriptors) if name.startswith("pipe:")]
    if inherited:
        options["inherit_fd"] = inherited
    external = _restore_mounts(request, facts)
    if external:
        options["external"] = external
    return options


def _restore_mounts(request: RestoreRequest, facts: RestoreFacts) -> list[str]:
    sources = list(request.bound)
    sources += [
        (f"{top}/{name}", source) for top in request.cgroup_mounts for name, source in facts.hierarchies.items()
    ]
    external = [f"mnt[{facts.mount_points.get(point, point)}]:{source}" for point, source in sources]
    if request.masked:
        external.append("mnt[/dev/null]:/dev/null")
    return external


def _joined_namespaces(joined: Sequence[tuple[str, str, str]]) -> list[dict[str, str]]:
    """Return those that criu enters by itself. joined: as in RestoreRequest. Raises Error if it cannot enter one."""
    entered = []
    for kind, path, pointer in joined:
        if kind in EXTERNAL_NAMESPACES:
            continue
        if kind not in JOINED_NAMESPACES:
            raise Error(f"criu cannot restore a container into an existing {kind} namespace", pointer=pointer)
        entered.append({"ns": JOINED_NAMESPACES[kind], "ns_file": path})
    return entered

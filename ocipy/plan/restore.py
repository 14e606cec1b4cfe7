"""restore: another plan from the concerns of create, with criu in place of the init lane.

criu joins the cgroup, or systemd makes the unit with criu in it, and the restored processes inherit it. The limits are
set before the processes exist. The hooks of the runtime's namespaces run between the creation of the namespaces and of
the processes. What init does at create is in the images. Cold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocipy.plan import build as create
from ocipy.plan import cgroup, hooks, intel_rdt, mounts, namespace_contents, namespaces, terminal
from ocipy.plan.checkpoint import NO_NEW_PRIVS, CriuFlags, describe_version, external_kinds, refuse
from ocipy.plan.lane import PrivateProcfs, SaveConfig
from ocipy.plan.masks import Mask
from ocipy.plan.model import HostStep, Planner
from ocipy.plan.mount_options import NewMount
from ocipy.plan.mounts import Bind
from ocipy.plan.pid_file import plan_report
from ocipy.plan.rare import HOOKS, INTEL_RDT, NAMESPACE_CONTENTS, TERMINAL
from ocipy.plan.restore_request import RestoreRequest, restore_request
from ocipy.plan.rootfs import RootReadonly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan


class BeginRestore(HostStep):
    """Mark the container as being created, and make a place for its root."""

    action = "restoring"
    words = "from here on delete can find the container"


class RestoreMountPoints(HostStep):
    """Make the missing mount points. mounts: the steps of create that would make them; a Bind has no attributes."""

    mounts: tuple[Bind | NewMount, ...]
    words = "those missing from the root filesystem"


class RestoreCriu(HostStep):
    """Start criu.

    program: its path. image_path, work_path: as in CriuFlags. kinds: of the namespaces whose descriptors it receives.
    """

    program: str
    image_path: str
    work_path: str
    kinds: tuple[str, ...]
    words = "starts criu in its own mount namespace"


class RestoreJoin(HostStep):
    """Move criu into the cgroup."""

    words = "criu joins the cgroup, and the restored processes inherit it"


class RestoreNamespaces(HostStep):
    """Have criu restore the namespaces."""

    request: RestoreRequest
    words = "criu makes them, with a first process that does not run yet"


class RestoreLoopback(HostStep):
    """Bring the loopback interface up."""

    words = "lo up"


class RestoreProcesses(HostStep):
    """Have criu restore the processes. mounts: the steps of create whose attributes criu may lose."""

    flags: CriuFlags
    mounts: tuple[Bind | RootReadonly | Mask, ...]
    words = "criu restores them"


class Restored(HostStep):
    """Declare the container running."""

    words = "the container is running"


def build(
    config: Config, host: Host, options: Options, flags: CriuFlags, program: str, descriptors: Sequence[str]
) -> Plan:
    """Return the plan of restore. Raises Error for a refused field, with its pointer.

    program: the path of criu. descriptors: as in RestoreRequest.
    """
    made = create.build(config, host, options)
    refuse(config, made)
    planner = Planner(config, host, options)
    planner.on_host(PrivateProcfs(sysctl=False))
    planner.on_host(BeginRestore())
    planner.on_host(SaveConfig())
    if HOOKS in planner.rare:
        hooks.plan_hooks_output(planner)
        hooks.plan_hooks_later(planner)
    namespaces.plan_join(planner)
    _plan_criu(planner, made, flags, program)
    planner.on_host(RestoreNamespaces("/linux/namespaces", request=restore_request(config, made, flags, descriptors)))
    # criu is told to leave a network namespace empty, and restores sockets only if their addresses exist.
    if "network" in planner.namespaces.new:
        planner.on_host(RestoreLoopback("/linux/namespaces"))
    if INTEL_RDT in planner.rare:
        intel_rdt.plan_join(planner)
    if NAMESPACE_CONTENTS in planner.rare:
        namespace_contents.plan_net_devices(planner)
    if HOOKS in planner.rare:
        hooks.plan_hooks_runtime(planner)
    # criu (3.17, 4.1) leaves the root writable, and of two external mounts of one filesystem with the same flags it
    # only sets the first one's.
    mounted = [step for step in made.init if type(step) is Bind or isinstance(step, RootReadonly | Mask)]
    planner.on_host(RestoreProcesses(flags=flags, mounts=tuple(mounted)))
    if TERMINAL in planner.rare:
        terminal.plan_send_console(planner)
    if INTEL_RDT in planner.rare:
        intel_rdt.plan_keep(planner)
    planner.on_host(Restored())
    plan_report(planner, "standard")
    planner.plan.warnings = made.warnings
    return planner.plan


def _plan_criu(planner: Planner, made: Plan, flags: CriuFlags, program: str) -> None:
    """Start criu, move it into the cgroup, and then set the cgroup's limits."""
    devices_later = mounts.needs_devices(planner)
    # It gets ready while we go on.
    planner.on_host(
        RestoreCriu(
            "/root/path",
            program=program,
            image_path=flags.image_path,
            work_path=flags.work_path,
            kinds=tuple(external_kinds(planner.config)),
        )
    )
    points = [_without_attributes(step) for step in made.init if isinstance(step, Bind | NewMount)]
    planner.on_host(RestoreMountPoints("/mounts", mounts=tuple(points)))
    cgroup.plan_cgroup_create(planner, for_init=False)
    if INTEL_RDT in planner.rare:
        intel_rdt.plan_groups(planner)
    cgroup.plan_cgroup_cpuset(planner)  # nothing can join before this
    if not planner.options.no_cgroup and not planner.options.systemd_cgroup:
        planner.on_host(RestoreJoin("/linux/cgroupsPath"))
    cgroup.plan_cgroup_unit(planner)
    cgroup.plan_cgroup_contents(planner, devices=not devices_later, for_init=False)
    cgroup.plan_cgroup_limits(planner, devices=devices_later)
    cgroup.plan_cgroup_pids(planner)


def _without_attributes(step: Bind | NewMount) -> Bind | NewMount:
    """Sources opened by the host and attributes are not needed to make a mount point: criu mounts it again."""
    if isinstance(step, NewMount):
        return step
    return type(step)(
        step.pointer, destination=step.destination, source=step.source, opened=False, recursive=step.recursive,
        source_nofollow=step.source_nofollow, target_nofollow=step.target_nofollow, attr_set=0, attr_clear=0,
        attr_implicit=0, propagation=(), recursive_set=0, recursive_clear=0,
    )  # fmt: skip


def lost_by(version: int, request: RestoreRequest) -> list[tuple[str, str]]:
    """Return warnings, as in a plan, about what a container loses when this version of criu restores it."""
    if version < NO_NEW_PRIVS and request.no_new_privileges:
        text = f"criu {describe_version(version)} does not restore no_new_privs; {describe_version(NO_NEW_PRIVS)} does"
        return [("/process/noNewPrivileges", text)]
    return []

"""linux.cgroupsPath and linux.resources.

The cgroup is made before init, init joins it before it mounts anything of the host's, and it is limited once the mounts
exist, before any hook or anything of the image runs. Work that init's mounts do not need is done while init mounts: on
v1 the contents of a cpuset, since the kernel compares each with all of its siblings, the device rules, and a systemd
unit.
"""

from __future__ import annotations

from ocipy.cgroups.resources import early, limits
from ocipy.errors import Error, in_bytes
from ocipy.linux.paths import clean
from ocipy.plan.cgroup_enter import CgroupEnter
from ocipy.plan.device_rules import given_rules, rules_to_apply
from ocipy.plan.fields import CGROUP, RESOURCES, resources_of, user_of
from ocipy.plan.lane import TellInit, WaitForHost
from ocipy.plan.model import HostStep, if_set
from ocipy.plan.namespaces import enters_last, id_maps, needs_stages
from ocipy.plan.process import ResetAffinity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.cgroups.devices import Rule
    from ocipy.cgroups.writes import Writes
    from ocipy.config.types import Config, Resources
    from ocipy.plan.model import Host, Options, Planner

# Prefixes of limits that a threaded cgroup cannot have (cgroups(7)). cpu is threaded, but runc counts it among them.
DOMAIN = ("memory.", "io.", "cpu.", "hugetlb.")


class CgroupCreate(HostStep):
    """Make the cgroup.

    path: cgroupsPath, or "". tolerant: continue without one if it is not permitted. enable: v2 controllers to enable
    for it. domain: it gets limits that a threaded cgroup cannot have. cpuset: fill the v1 cpuset now. frozen: refuse a
    frozen one now, instead of when init is in it. pids_shared: the container shares its pid namespace with the host or
    with another container.
    """

    path: str
    tolerant: bool
    enable: tuple[str, ...]
    domain: bool
    cpuset: bool
    frozen: bool
    pids_shared: bool

    def describe(self) -> str:
        return (self.path or "below the runtime's cgroup") + if_set(self.tolerant, ", if permitted")


class CgroupOpen(HostStep):
    """Open the files that init writes when it enters the v1 hierarchies (plan/cgroup_enter.py)."""

    words = "the tasks file of each v1 hierarchy, for init"


class CgroupOwn(HostStep):
    """Let the container's user manage the cgroups below the container's. uid: on the host."""

    uid: int

    def describe(self) -> str:
        return f"user {self.uid} becomes its owner"


class CgroupJoin(HostStep):
    """Move init, or the stage before it, into the v2 cgroup, unless it was cloned there."""

    tolerant: bool

    def describe(self) -> str:
        return "the unified hierarchy" + if_set(self.tolerant, ", if permitted")


class CgroupCpuset(HostStep):
    """Write what the v1 cpuset needs before a process may join."""

    words = "the CPUs and memory nodes of the parent cgroup"


class CgroupDevices(HostStep):
    """Apply the device rules. tolerant: continue without them if that is not permitted."""

    rules: tuple[Rule, ...]
    tolerant: bool

    def describe(self) -> str:
        def words(allow: bool, kind: str, major: int, minor: int, access: int) -> str:
            number = ":".join("*" if part < 0 else str(part) for part in (major, minor))
            letters = "".join(letter for bit, letter in ((2, "r"), (4, "w"), (1, "m")) if access & bit)
            return ("allow " if allow else "deny ") + (letters if kind == "a" else f"{kind} {number} {letters}")

        first = [words(*rule) for rule in self.rules[:2]]
        more = len(self.rules) - len(first)
        return ", ".join(first) + (f", and {more} more" if more > 0 else "")


class CgroupWrite(HostStep):
    """Set one limit. The members are the arguments of Cgroup.write (cgroups/cgroup.py)."""

    controller: str
    file: str
    value: str
    other_file: str = ""
    other_value: str = ""
    optional: bool = False
    defer: str = ""
    resume: bool = False
    verify: bool = False

    def describe(self) -> str:
        from ocipy.cgroups.writes import value_in_words

        return f"{self.file} ← {value_in_words(self.file, self.value)}"


class CgroupCheckMemory(HostStep):
    """Refuse a limit (bytes, 0: none) below the current usage."""

    limit: int
    swap: int

    def describe(self) -> str:
        return f"the current usage must not exceed {in_bytes(self.limit)}"


def plan_cgroup_create(planner: Planner, *, for_init: bool = True) -> None:
    """Make the cgroup and write what it needs before a process joins. for_init: init joins it, not criu."""
    config, host, options = planner.config, planner.host, planner.options
    if options.no_cgroup:
        _plan_without(planner)
        return
    _check_mounted(config, host)
    if options.systemd_cgroup:
        from ocipy.plan import systemd

        systemd.plan_unit(planner)
        return
    wanted = (config.get("linux") or {}).get("cgroupsPath") or ""
    assert not wanted.startswith("/") or clean(wanted) != "/"
    resources = resources_of(config)
    later = limits(resources, host.cgroup_mode, host.cgroup_controllers)
    planner.on_host(
        CgroupCreate(
            CGROUP,
            path=wanted,
            tolerant=host.rootless and not wanted,
            enable=tuple(sorted(later.unified)),
            domain=any(
                action[0] == "cgroup_write" and action[2]["file"].startswith(DOMAIN) for action in later.actions
            ),
            cpuset=not _joined_late(host, options),
            frozen=not for_init or host.cgroup_mode != "v2",
            pids_shared="pid" not in planner.namespaces.all,
        )
    )
    _plan_before_join(planner)


def plan_cgroup_open(planner: Planner) -> None:
    """Open what init needs to enter the v1 hierarchies. systemd moves it into its own."""
    if _enters(planner):
        planner.on_host(CgroupOpen(CGROUP))


def plan_cgroup_enter(planner: Planner) -> None:
    """Let init enter the v1 hierarchies.

    Memory that it has written to before stays charged to the runtime's cgroup: while both lanes run, whichever writes
    first to a page that they share has to copy it.
    """
    if _enters(planner):
        planner.in_init(CgroupEnter(CGROUP, skip=_joined_late(planner.host, planner.options)))


def _enters(planner: Planner) -> bool:
    host, options = planner.host, planner.options
    return host.cgroup_mode != "v2" and not options.no_cgroup and not options.systemd_cgroup


def _plan_without(planner: Planner) -> None:
    """The container stays in the caller's cgroup, whose limits we must not change."""
    config, host = planner.config, planner.host
    resources = resources_of(config)
    for writes in (early, limits):
        for _, pointer, _ in writes(resources, host.cgroup_mode, host.cgroup_controllers).actions:
            raise Error("a limit needs a cgroup, and --cgroup-manager=disabled does not make one", pointer=pointer)
    if given_rules(config):
        planner.warn(RESOURCES + "/devices", "device rules have no effect with --cgroup-manager=disabled")
    if "pid" not in planner.namespaces.all:
        planner.warn(
            CGROUP, "the container has neither its own cgroup nor its own pid namespace: delete may miss processes"
        )


def _check_mounted(config: Config, host: Host) -> None:
    wanted = (config.get("linux") or {}).get("cgroupsPath")
    if host.cgroup_mode == "v1" and not host.cgroup_controllers and not (host.rootless and not wanted):
        raise Error(
            "no cgroup filesystem is mounted",
            pointer=CGROUP,
            hint="mount cgroup2 on /sys/fs/cgroup, or the v1 controllers below it",
        )


def _joined_late(host: Host, options: Options) -> str:
    """Return the hierarchy that init joins while it mounts: v1's cpuset, or "". Init joins it earlier if the hierarchy
    has other controllers too, or if the runtime is unprivileged: init may then only join before its ids change."""
    if host.cgroup_mode == "v2" or host.rootless or options.systemd_cgroup:
        return ""
    return "cpuset" if "cpuset" in host.cgroup_controllers else ""


def _plan_before_join(planner: Planner) -> None:
    config, host = planner.config, planner.host
    writes = early(resources_of(config), host.cgroup_mode, host.cgroup_controllers)
    _append(planner, writes, skip=_joined_late(host, planner.options))
    uid = _owner(planner)
    if uid is not None:
        planner.on_host(CgroupOwn(CGROUP, uid=uid))


def plan_cgroup_join(planner: Planner) -> None:
    """Join the v2 hierarchy where the clone could not put the process there. A systemd unit starts with the process."""
    config, host, options = planner.config, planner.host, planner.options
    if options.systemd_cgroup:
        plan_cgroup_unit(planner)
    elif not options.no_cgroup:
        wanted = (config.get("linux") or {}).get("cgroupsPath") or ""
        planner.on_host(CgroupJoin(CGROUP, tolerant=host.rootless and not wanted))


def plan_cgroup_unit(planner: Planner) -> None:
    """Have systemd make the unit, unless it does so later, while init mounts."""
    options = planner.options
    if options.systemd_cgroup and not options.no_cgroup and not unit_is_late(planner):
        _plan_unit(planner, None)


def unit_is_late(planner: Planner) -> bool:
    """Whether systemd makes the unit while init mounts. Not if a stage runs before init, nor for an unprivileged
    user: then systemd only moves processes with the user's ids, and init changes its ids."""
    return planner.options.systemd_cgroup and not planner.host.rootless and not needs_stages(planner)


def _plan_unit(planner: Planner, rules: tuple[Rule, ...] | None) -> None:
    """Have systemd make the unit, with init in it. rules: the device rules to tell systemd at once."""
    from ocipy.plan import systemd

    systemd.plan_scope(planner, rules)
    _plan_before_join(planner)
    if planner.host.cgroup_mode != "v2":
        planner.on_host(systemd.SystemdJoin(CGROUP))


def plan_cgroup_meanwhile(planner: Planner, *, devices: bool) -> None:
    """What the host does while init mounts, and perhaps has to wait for before it makes a cgroup namespace or a device.

    devices: set the device rules.
    """
    before = len(planner.plan.host)
    plan_cgroup_cpuset(planner)
    plan_cgroup_contents(planner, devices=devices, for_init=True)
    if not _init_waits_for(planner, planner.plan.host[before:]):
        return
    planner.on_host(TellInit(barrier="confined"))
    planner.in_init(WaitForHost(barrier="confined"))
    if _joined_late(planner.host, planner.options):
        planner.in_init(CgroupEnter(CGROUP, skip=""))


def _init_waits_for(planner: Planner, steps: Sequence[HostStep]) -> bool:
    """On v1 the device rules allow nothing for a moment. On v2 they take effect at once, and always permit the devices
    that every container has; others are made under the rules, so that it does not depend on the moment whether they
    can be made."""
    default_devices = not (planner.config.get("linux") or {}).get("devices")
    if planner.host.cgroup_mode == "v2" and default_devices:
        return any(not isinstance(step, CgroupDevices) for step in steps)
    return bool(steps)


def plan_cgroup_cpuset(planner: Planner) -> None:
    """Fill the cpuset that is joined late: the kernel compares it with all of its siblings."""
    if not planner.options.no_cgroup and _joined_late(planner.host, planner.options):
        planner.on_host(CgroupCpuset(CGROUP))


def plan_cgroup_contents(planner: Planner, *, devices: bool, for_init: bool) -> None:
    """Write what a process needs in that cpuset, make a late unit, and set the device rules if `devices`.

    for_init: the process in it is init, not criu, which keeps its CPUs.
    """
    config, host, options = planner.config, planner.host, planner.options
    if options.no_cgroup:
        return
    late = _joined_late(host, options)
    if late:
        _append(planner, early(resources_of(config), host.cgroup_mode, host.cgroup_controllers), only=late)
    unit = unit_is_late(planner)
    rules = rules_to_apply(planner) if devices and (unit or not options.systemd_cgroup) else None
    if unit:
        _plan_unit(planner, rules)
        if for_init:
            planner.on_host(ResetAffinity())
    _plan_devices(planner, rules)


def _plan_devices(planner: Planner, rules: tuple[Rule, ...] | None) -> None:
    if rules is not None:
        planner.on_host(CgroupDevices(RESOURCES + "/devices", rules=rules, tolerant=planner.host.rootless))


def plan_cgroup_limits(planner: Planner, *, devices: bool) -> None:
    """Set the device rules unless they are in force, then the limits, one step each. systemd hears of both first."""
    options = planner.options
    if options.no_cgroup:
        return
    resources = resources_of(planner.config)
    if enters_last(planner):
        resources = _of_pids(resources, wanted=False)
    untold = options.systemd_cgroup and not unit_is_late(planner)
    rules = rules_to_apply(planner) if devices or untold else None
    _plan_limits(planner, resources, rules)


def plan_cgroup_pids(planner: Planner) -> None:
    """Set the pids limit, if init has to fork first."""
    config = planner.config
    if planner.options.no_cgroup or not enters_last(planner):
        return
    resources = _of_pids(resources_of(config), wanted=True)
    if resources:
        _plan_limits(planner, resources, None)


def _of_pids(resources: Resources, *, wanted: bool) -> Resources:
    """Return the resources that limit processes, or all others."""
    part: Resources = {name: value for name, value in resources.items() if (name == "pids") == wanted}  # type: ignore[assignment]
    unified = resources.get("unified") or {}
    files = {file: value for file, value in unified.items() if (file == "pids.max") == wanted}
    if files:
        part["unified"] = files
    else:
        part.pop("unified", None)
    return part


def _plan_limits(planner: Planner, resources: Resources, rules: tuple[Rule, ...] | None) -> None:
    host = planner.host
    if planner.options.systemd_cgroup:
        from ocipy.plan import systemd

        resources = systemd.plan_properties(planner, resources, rules)
    _plan_devices(planner, rules)
    _append(planner, limits(resources, host.cgroup_mode, host.cgroup_controllers))


def _append(planner: Planner, writes: Writes, *, skip: str = "", only: str = "") -> None:
    """Append a step for each write. skip, only: the controller whose writes to leave out, or to append alone."""
    for action in writes.actions:
        if action[0] == "cgroup_check_memory":
            planner.on_host(CgroupCheckMemory(action[1], **action[2]))
        elif not (skip and action[2]["controller"] == skip) and not (only and action[2]["controller"] != only):
            planner.on_host(CgroupWrite(action[1], **action[2]))


def _owner(planner: Planner) -> int | None:
    """Return the host's id of the user that will own the cgroup, or None (config-linux.md, Cgroup ownership)."""
    config, host, namespaces = planner.config, planner.host, planner.namespaces
    if host.cgroup_mode != "v2" or "cgroup" not in namespaces.new:
        return None
    if not any(
        mount.get("source") == "cgroup"
        and clean(mount["destination"]) == "/sys/fs/cgroup"
        and "ro" not in (mount.get("options") or ())
        for mount in config.get("mounts") or ()
    ):
        return None
    uid = user_of(config).get("uid") or 0
    if "user" in namespaces.joined:
        # The config does not contain its map.
        return None
    if "user" in namespaces.new:
        for entry in id_maps(planner)[0]:
            if entry["containerID"] <= uid < entry["containerID"] + entry["size"]:
                uid = entry["hostID"] + uid - entry["containerID"]
                break
        else:
            return None
    return uid if uid != host.uid else None

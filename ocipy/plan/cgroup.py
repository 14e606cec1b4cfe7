"""linux.cgroupsPath and linux.resources.

The cgroup is made before init, init joins it first of all, and it is limited once the mounts exist, before any hook or
anything of the image runs. Work that init's mounts do not need is done while init mounts: on v1 the contents of a
cpuset, since the kernel compares each with all of its siblings, the device rules, and a systemd unit.
"""

from __future__ import annotations

from ocipy.cgroups.devices import ANY, DEFAULT_NODES, DEFAULT_RULES, bits_of, fold
from ocipy.cgroups.paths import clean
from ocipy.cgroups.resources import early, limits
from ocipy.errors import Error
from ocipy.plan.fields import CGROUP, RESOURCES, resources_of, user_of
from ocipy.plan.namespaces import enters_last, has_namespace, id_maps, joined_kinds, needs_stages, new_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ocipy.cgroups.devices import Rule
    from ocipy.cgroups.writes import Writes
    from ocipy.config.types import Config, Resources
    from ocipy.plan.model import Host, Options, Plan

# Prefixes of limits that a threaded cgroup cannot have (cgroups(7)). cpu is threaded, but runc counts it among them.
DOMAIN = ("memory.", "io.", "cpu.", "hugetlb.")


def plan_cgroup_create(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make the cgroup and write what it needs before a process joins. Entering it is init's first step."""
    if options.no_cgroup:
        _plan_without(plan, config, host)
        return
    _check_mounted(config, host)
    if options.systemd_cgroup:
        _systemd().plan_unit(plan, config, host, options)
        return
    wanted = (config.get("linux") or {}).get("cgroupsPath") or ""
    if wanted.startswith("/") and clean(wanted) == "/":
        raise Error("the top of the hierarchy cannot be a container's cgroup", pointer=CGROUP)
    resources = resources_of(config)
    later = limits(resources, host.cgroup_mode, host.cgroup_controllers)
    plan.on_host(
        "cgroup_create",
        CGROUP,
        path=wanted,
        tolerant=host.rootless and not wanted,
        enable=tuple(sorted(later.unified)),
        domain=any(action[2].get("file", "").startswith(DOMAIN) for action in later.actions),
        cpuset=not _joined_late(host, options),
        pids_shared=not has_namespace(config, "pid"),
    )
    _plan_before_join(plan, config, host, options)
    if host.cgroup_mode != "v2":
        plan.on_host("cgroup_open", CGROUP)
        plan.in_init("cgroup_enter", CGROUP, but=_joined_late(host, options))


def _plan_without(plan: Plan, config: Config, host: Host) -> None:
    """The container stays in the caller's cgroup, whose limits we must not change."""
    resources = resources_of(config)
    for writes in (early, limits):
        for _, pointer, _ in writes(resources, host.cgroup_mode, host.cgroup_controllers).actions:
            raise Error("a limit needs a cgroup, and --cgroup-manager=disabled does not make one", pointer=pointer)
    if _given_rules(config):
        plan.warn(RESOURCES + "/devices", "device rules have no effect with --cgroup-manager=disabled")
    if not has_namespace(config, "pid"):
        plan.warn(
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
    """Return the hierarchy that init joins while it mounts: v1's cpuset, or "". Init joins it earlier if it has other
    controllers too, and for an unprivileged user, who can only join it with the present ids."""
    if host.cgroup_mode == "v2" or host.rootless or options.systemd_cgroup:
        return ""
    return "cpuset" if "cpuset" in host.cgroup_controllers else ""


def _plan_before_join(plan: Plan, config: Config, host: Host, options: Options) -> None:
    writes = early(resources_of(config), host.cgroup_mode, host.cgroup_controllers)
    _append(plan, writes, but=_joined_late(host, options))
    uid = _owner(config, host)
    if uid is not None:
        plan.on_host("cgroup_own", CGROUP, uid=uid)


def plan_cgroup_join(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Join the v2 hierarchy where the clone could not put the process there. A systemd unit starts with the process."""
    if options.no_cgroup:
        return
    if options.systemd_cgroup:
        if not unit_is_late(config, host, options):
            _plan_unit(plan, config, host, options, None)
        return
    wanted = (config.get("linux") or {}).get("cgroupsPath") or ""
    plan.on_host("cgroup_join", CGROUP, tolerant=host.rootless and not wanted)


def unit_is_late(config: Config, host: Host, options: Options) -> bool:
    """Whether systemd makes the unit while init mounts. Not if a stage runs before init, nor for an unprivileged
    user: then systemd only moves processes with the user's ids, and init changes its ids."""
    return options.systemd_cgroup and not host.rootless and not needs_stages(config)


def _plan_unit(plan: Plan, config: Config, host: Host, options: Options, rules: tuple[Rule, ...] | None) -> None:
    """Have systemd make the unit, with init in it. rules: the device rules to tell systemd at once."""
    _systemd().plan_scope(plan, config, host, options, rules)
    _plan_before_join(plan, config, host, options)
    if host.cgroup_mode != "v2":
        plan.on_host("systemd_join", CGROUP)


def plan_cgroup_meanwhile(plan: Plan, config: Config, host: Host, options: Options, *, devices: bool) -> None:
    """What the host does while init mounts. Init waits for it before it makes a cgroup namespace or a device: on v1
    the rules allow nothing for a moment.

    devices: set the device rules.
    """
    if options.no_cgroup:
        return
    before = len(plan.host)
    late = _joined_late(host, options)
    if late:
        plan.on_host("cgroup_cpuset", CGROUP)
        writes = early(resources_of(config), host.cgroup_mode, host.cgroup_controllers)
        _append(plan, writes, only=late)
    unit = unit_is_late(config, host, options)
    rules = _device_rules(plan, config, host) if devices and (unit or not options.systemd_cgroup) else None
    if unit:
        _plan_unit(plan, config, host, options, rules)
        plan.on_host("reset_affinity", "")
    _plan_devices(plan, rules, host)
    if len(plan.host) == before:
        return
    plan.on_host("tell", "", barrier="confined")
    plan.in_init("wait", "", barrier="confined")
    if late:
        plan.in_init("cgroup_enter", CGROUP, but="")


def _plan_devices(plan: Plan, rules: tuple[Rule, ...] | None, host: Host) -> None:
    if rules is not None:
        plan.on_host("cgroup_devices", RESOURCES + "/devices", rules=rules, tolerant=host.rootless)


def plan_cgroup_limits(plan: Plan, config: Config, host: Host, options: Options, *, devices: bool) -> None:
    """Set the device rules, unless in force, then one step per write. systemd is told of both before."""
    if options.no_cgroup:
        return
    resources = resources_of(config)
    if enters_last(config, host):
        resources = _of_pids(resources, wanted=False)
    untold = options.systemd_cgroup and not unit_is_late(config, host, options)
    rules = _device_rules(plan, config, host) if devices or untold else None
    _plan_limits(plan, resources, rules, host, options)


def plan_cgroup_pids(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Set the pids limit, if init has to fork first."""
    if options.no_cgroup or not enters_last(config, host):
        return
    resources = _of_pids(resources_of(config), wanted=True)
    if resources:
        _plan_limits(plan, resources, None, host, options)


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


def _plan_limits(
    plan: Plan, resources: Resources, rules: tuple[Rule, ...] | None, host: Host, options: Options
) -> None:
    if options.systemd_cgroup:
        resources = _systemd().plan_properties(plan, resources, host, rules)
    _plan_devices(plan, rules, host)
    _append(plan, limits(resources, host.cgroup_mode, host.cgroup_controllers))


def _systemd() -> ModuleType:
    """Import the module only on request: imports dominate the cost of a start."""
    from ocipy.plan import systemd

    return systemd


def _append(plan: Plan, writes: Writes, *, but: str = "", only: str = "") -> None:
    """Append a step for each write. but, only: of a controller."""
    for action, pointer, arguments in writes.actions:
        controller = arguments.get("controller")
        if not (but and controller == but) and not (only and controller != only):
            plan.on_host(action, pointer, **arguments)


def _device_rules(plan: Plan, config: Config, host: Host) -> tuple[Rule, ...] | None:
    """Return the rules to apply, None if none can be applied."""
    pointer = RESOURCES + "/devices"
    given = _given_rules(config)
    v1 = any("devices" in name.split(",") for name in host.cgroup_controllers)
    if v1 and host.in_user_namespace:
        # There the kernel denies writes to devices.allow; the container is allowed what the runtime is allowed.
        if given:
            plan.warn(pointer, "device rules have no effect in a user namespace on cgroup v1")
        return None
    if not v1 and host.cgroup_mode == "v1":
        if host.rootless:
            return None
        raise Error("the cgroup controller devices is not available on this host", pointer=pointer)
    rules = [*given, *_default_rules(config)]
    if v1:
        fold(rules, pointer)
    return tuple(rules)


def _given_rules(config: Config) -> list[Rule]:
    rules: list[Rule] = []
    linux = config.get("linux") or {}
    for entry in (linux.get("resources") or {}).get("devices") or ():
        kind = entry.get("type") or "a"
        major, minor = _number(entry.get("major")), _number(entry.get("minor"))
        # A missing access means every access, as a missing type means every type. The specification does not say.
        rules.append((entry["allow"], kind, major, minor, bits_of(entry.get("access") or "rwm")))
    return rules


def _number(number: int | None) -> int:
    """Return a major or minor number; a missing one means any, and so does -1, as in runc."""
    return ANY if number is None else number


def _default_rules(config: Config) -> list[Rule]:
    """Return the default devices, except those that a device of the config replaces."""
    linux = config.get("linux") or {}
    taken = {DEFAULT_NODES.get(clean(device["path"])) for device in linux.get("devices") or ()}
    return [rule for rule in DEFAULT_RULES if (rule[2], rule[3]) not in taken]


def _owner(config: Config, host: Host) -> int | None:
    """Return the host's id of the user that will own the cgroup, or None (config-linux.md, Cgroup ownership)."""
    if host.cgroup_mode != "v2" or "cgroup" not in new_kinds(config):
        return None
    if not any(
        mount.get("source") == "cgroup"
        and clean(mount["destination"]) == "/sys/fs/cgroup"
        and "ro" not in (mount.get("options") or ())
        for mount in config.get("mounts") or ()
    ):
        return None
    uid = user_of(config).get("uid") or 0
    if "user" in joined_kinds(config):
        # The config does not contain its map.
        return None
    if "user" in new_kinds(config):
        for entry in id_maps(config)[0]:
            if entry["containerID"] <= uid < entry["containerID"] + entry["size"]:
                uid = entry["hostID"] + uid - entry["containerID"]
                break
        else:
            return None
    return uid if uid != host.uid else None

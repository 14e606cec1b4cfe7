"""Compile a config into a plan, concern by concern. ARCHITECTURE.md explains the order."""

from __future__ import annotations

from ocipy.plan import (
    cgroup,
    devices,
    identity,
    loopback,
    masks,
    mounts,
    namespaces,
    process,
    rootfs,
    uts,
)
from ocipy.plan.model import Plan
from ocipy.plan.rare import rare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options


def build(config: Config, host: Host, options: Options) -> Plan:
    """Return the plan of `create` (and `run`). Raises Error for a refused field, with its pointer."""
    plan = Plan()
    if config["ociVersion"][:2] == "0.":
        plan.warn("/ociVersion", f"{config['ociVersion']} is older than 1.0: fields renamed since then are ignored")
    if options.notify_socket:
        config = _with_notify_socket(plan, config, options)
    _open_on_host(plan, config, host, options)
    _make_init(plan, config, host, options)
    _make_root(plan, config, host, options)
    _enter_root(plan, config, host, options)
    _become_process(plan, config, host, options)
    process.plan_report(plan, options, "standard")
    return plan


def _with_notify_socket(plan: Plan, config: Config, options: Options) -> Config:
    from ocipy.plan.notify import with_notify_socket

    planned = with_notify_socket(config, options.state_directory)
    if planned is not config:
        # First, since it becomes the source of a mount.
        plan.on_host("notify_directory", "")
    return planned


def _open_on_host(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Open, compile or make everything needed before the init process exists."""
    rare("terminal", "plan_check", plan, config, host, options)
    rare("hooks", "plan_hooks_output", plan, config, host, options)
    rare("hooks", "plan_hooks_later", plan, config, host, options)
    rare("seccomp", "plan_seccomp_compile", plan, config, host, options)
    plan.on_host("fifo", "")
    plan.on_host("private_procfs", "", sysctl=bool((config.get("linux") or {}).get("sysctl")))
    namespaces.plan_join(plan, config, host, options)
    rare("sysctl", "plan_check", plan, config, host, options)
    uts.plan_check(plan, config, host, options)
    rootfs.plan_root_source(plan, config, host, options)
    mounts.plan_sources(plan, config, host, options)
    devices.plan_nodes(plan, config, host, options)
    cgroup.plan_cgroup_create(plan, config, host, options)
    rare("intel_rdt", "plan_groups", plan, config, host, options)


def _make_init(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """The clone, and what the host does to the new process before that may do anything."""
    staged = namespaces.needs_stages(config)
    namespaces.plan_clone(plan, config, host, options)
    plan.on_host("save_state", "")
    if staged:
        cgroup.plan_cgroup_join(plan, config, host, options)
        namespaces.plan_stage(plan, config, host, options)
        plan.on_host("adopt", "/linux/namespaces")
        plan.on_host("save_state", "")
        if namespaces.is_watched(config, host) and not namespaces.enters_last(config, host):
            plan.on_host("give_procfs", "/linux/namespaces", whole=False)
            plan.in_init("take_procfs", "/linux/namespaces")
    else:
        namespaces.plan_id_maps(plan, config, host, options)
        cgroup.plan_cgroup_join(plan, config, host, options)
    rare("intel_rdt", "plan_join", plan, config, host, options)
    process.plan_oom_score(plan, config, host, options)
    plan.on_host("tell", "", barrier="begin")
    plan.in_init("wait", "", barrier="begin")
    plan.in_init("undumpable", "")
    if not cgroup.unit_is_late(config, host, options):
        process.plan_affinity(plan, config, host, options)
    process.plan_session(plan, config, host, options)
    plan.in_init("heed_signals", "")
    identity.plan_become_root(plan, config, host, options)
    namespaces.plan_unshare_ipc(plan, config, host, options)
    loopback.plan_loopback(plan, config, host, options)


def _make_root(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make the root filesystem, up to the hooks that see it before the pivot."""
    rules_later = mounts.needs_devices(config)
    rootfs.plan_rootfs(plan, config, host, options)
    first = mounts.first_of_cgroup(config)
    mounts.plan_mounts(plan, config, host, options, end=first)
    cgroup.plan_cgroup_meanwhile(plan, config, host, options, devices=not rules_later)
    namespaces.plan_unshare_cgroup(plan, config, host, options)
    mounts.plan_mounts(plan, config, host, options, start=first)
    devices.plan_devices(plan, config, host, options)
    _plan_mounted(plan, config, host, options, rules_later)


def _plan_mounted(plan: Plan, config: Config, host: Host, options: Options, device_rules: bool) -> None:
    """What the host does once the mounts exist. If that is nothing, init need not wait for it."""
    later = Plan()
    cgroup.plan_cgroup_limits(later, config, host, options, devices=device_rules)
    rare("namespace_contents", "plan_net_devices", later, config, host, options)
    rare("hooks", "plan_hooks_runtime", later, config, host, options)
    rare("hooks", "plan_hooks_create_container", later, config, host, options)
    plan.warnings += later.warnings
    if later.host or later.init:
        plan.in_init("tell", "", barrier="mounted")
        plan.on_host("wait", "", barrier="mounted")
        plan.host += later.host
        plan.on_host("tell", "", barrier="go", hooks=any(step.action == "hook" for step in later.init))
        plan.in_init("wait", "", barrier="go")
        plan.init += later.init


def _enter_root(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """The pivot, and the work inside that needs all privileges."""
    masks.plan_null(plan, config, host, options)
    rootfs.plan_pivot(plan, config, host, options)
    process.plan_make_cwd(plan, config, host, options)
    rare("terminal", "plan_console", plan, config, host, options)
    mounts.plan_readonly(plan, config, host, options)
    rootfs.plan_root_readonly(plan, config, host, options)
    uts.plan_names(plan, config, host, options)
    rare("lsm", "plan_labels", plan, config, host, options)
    rare("sysctl", "plan_sysctl", plan, config, host, options)
    masks.plan_readonly_paths(plan, config, host, options)
    masks.plan_masked_paths(plan, config, host, options)
    namespaces.plan_enter_pid(plan, config, host, options)
    cgroup.plan_cgroup_pids(plan, config, host, options)
    process.plan_ready(plan, config, host, options)
    plan.on_host("tell", "", barrier="limited")
    plan.in_init("wait", "", barrier="limited")


def _become_process(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """From the container's root to its process, with the wait for start in between."""
    process.plan_become_user(plan, config, host, options)
    plan.in_init("wait_for_start", "", watch=all(step.action != "seccomp_load" for step in plan.init))
    plan.on_host("wait", "", barrier="waiting")
    rare("intel_rdt", "plan_keep", plan, config, host, options)
    plan.on_host("created", "")
    rare("hooks", "plan_hooks_start_container", plan, config, host, options)
    process.plan_become_command(plan, config, host, options)

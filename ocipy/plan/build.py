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
from ocipy.plan.lane import (
    Adopt,
    GiveProcfs,
    PassProcfs,
    SaveConfig,
    SaveState,
    TakeProcfs,
    TellInit,
    Undumpable,
    WaitForHost,
    WaitForInit,
    meet,
    plan_procfs,
    reached,
)
from ocipy.plan.model import Planner
from ocipy.plan.process import HeedSignals
from ocipy.plan.rare import HOOKS, INTEL_RDT, LSM, NAMESPACE_CONTENTS, SECCOMP, SYSCTL, TERMINAL
from ocipy.plan.waiting import (
    Created,
    Creating,
    Executed,
    Fifo,
    GoOn,
    ReportPipe,
    Running,
    WaitForStart,
    starts_at_once,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan


def build(config: Config, host: Host, options: Options) -> Plan:
    """Return the plan of `create` (and `run`). Raises Error for a refused field, with its pointer."""
    planner = Planner(config, host, options)
    if config["ociVersion"][:2] == "0.":
        planner.warn("/ociVersion", f"{config['ociVersion']} is older than 1.0: fields renamed since then are ignored")
    if options.notify_socket:
        from ocipy.plan import notify

        notify.plan_directory(planner)
    at_once = namespaces.mounts_at_once(planner)
    _open_on_host(planner, at_once)
    _make_init(planner, at_once)
    _make_root(planner, at_once)
    _enter_root(planner)
    _become_process(planner)
    if options.pid_file or options.pidfd_socket:
        from ocipy.plan.pid_file import plan_report

        plan_report(planner, "standard")
    return planner.plan


def _open_on_host(planner: Planner, at_once: bool) -> None:
    """Open, compile or make everything needed before the init process exists."""
    if TERMINAL in planner.rare:
        from ocipy.plan import terminal

        terminal.plan_check(planner)
    if HOOKS in planner.rare:
        from ocipy.plan import hooks

        hooks.plan_hooks_output(planner)
        hooks.plan_hooks_later(planner)
    if SECCOMP in planner.rare:
        from ocipy.plan import seccomp

        seccomp.plan_seccomp_compile(planner)
    planner.on_host(ReportPipe() if starts_at_once(planner) else Fifo())
    if not at_once or SYSCTL in planner.rare:
        plan_procfs(planner)
    namespaces.plan_join(planner)
    if SYSCTL in planner.rare:
        from ocipy.plan import sysctl

        sysctl.plan_check(planner)
    uts.plan_check(planner)
    rootfs.plan_root_source(planner)
    mounts.plan_sources(planner)
    devices.plan_nodes(planner)
    cgroup.plan_cgroup_create(planner)
    cgroup.plan_cgroup_open(planner)
    if not at_once:
        cgroup.plan_cgroup_enter(planner)
    if INTEL_RDT in planner.rare:
        from ocipy.plan import intel_rdt

        intel_rdt.plan_groups(planner)


def _make_init(planner: Planner, at_once: bool) -> None:
    """The clone, and what the host does to the new process before that may do anything."""
    staged = namespaces.needs_stages(planner)
    namespaces.plan_clone(planner)
    passed = plan_procfs(planner)
    if passed:
        planner.on_host(PassProcfs())
    if not at_once:
        _plan_record(planner)
    if staged:
        cgroup.plan_cgroup_join(planner)
        namespaces.plan_stage(planner)
        planner.on_host(Adopt("/linux/namespaces"))
        planner.on_host(SaveState())
        if namespaces.is_watched(planner) and not namespaces.enters_last(planner):
            planner.on_host(GiveProcfs("/linux/namespaces", whole=False))
            planner.in_init(TakeProcfs("/linux/namespaces"))
    else:
        namespaces.plan_id_maps(planner)
        cgroup.plan_cgroup_join(planner)
    if INTEL_RDT in planner.rare:
        from ocipy.plan import intel_rdt

        intel_rdt.plan_join(planner)
    process.plan_oom_score(planner)
    if not at_once:
        planner.on_host(TellInit(barrier="begin"))
        planner.in_init(WaitForHost(barrier="begin"))
    planner.in_init(Undumpable())
    if passed:
        planner.in_init(TakeProcfs())
    if not cgroup.unit_is_late(planner):
        process.plan_affinity(planner)
    process.plan_session(planner)
    planner.in_init(HeedSignals())
    identity.plan_become_root(planner)
    namespaces.plan_unshare_ipc(planner)
    if not at_once:
        loopback.plan_loopback(planner)


def _plan_record(planner: Planner) -> None:
    """Record init. Without the mark, which create makes with its FIFO, a container whose init lives counts as running,
    and exec would enter it before init has pivoted."""
    if starts_at_once(planner):
        planner.on_host(Creating())
    planner.on_host(SaveState())


def _make_root(planner: Planner, at_once: bool) -> None:
    """Make the root filesystem, up to the hooks that see it before the pivot."""
    rules_later = mounts.needs_devices(planner)
    rootfs.plan_rootfs(planner)
    private = 0
    if at_once:
        private = mounts.count_private(planner)
        mounts.plan_mounts(planner, end=private)
        namespaces.plan_network(planner)
        cgroup.plan_cgroup_enter(planner)
        loopback.plan_loopback(planner)
    confined = mounts.first_of_cgroup(planner)
    mounts.plan_mounts(planner, start=private, end=confined)
    cgroup.plan_cgroup_meanwhile(planner, devices=not rules_later)
    planner.on_host(SaveConfig())
    if at_once:
        # Last, since init does not wait for it. If create is killed before, init dies with it.
        _plan_record(planner)
    namespaces.plan_unshare_cgroup(planner)
    mounts.plan_mounts(planner, start=confined)
    devices.plan_devices(planner)
    _plan_mounted(planner, rules_later)


def _plan_mounted(planner: Planner, device_rules: bool) -> None:
    """What the host does once the mounts exist. If that is nothing, init need not wait for it."""
    before = reached(planner)
    cgroup.plan_cgroup_limits(planner, devices=device_rules)
    if NAMESPACE_CONTENTS in planner.rare:
        from ocipy.plan import namespace_contents

        namespace_contents.plan_net_devices(planner)
    if HOOKS in planner.rare:
        from ocipy.plan import hooks

        hooks.plan_hooks_runtime(planner)
        hooks.plan_hooks_create_container(planner)
    meet(planner, before, "mounted", "go", hooks=bool((planner.config.get("hooks") or {}).get("createContainer")))


def _enter_root(planner: Planner) -> None:
    """The pivot, and the work inside that needs all privileges."""
    masks.plan_null(planner)
    rootfs.plan_pivot(planner)
    process.plan_make_cwd(planner)
    if TERMINAL in planner.rare:
        from ocipy.plan import terminal

        terminal.plan_console(planner)
    mounts.plan_readonly(planner)
    rootfs.plan_root_readonly(planner)
    uts.plan_names(planner)
    if LSM in planner.rare:
        from ocipy.plan import lsm

        lsm.plan_labels(planner)
    if SYSCTL in planner.rare:
        from ocipy.plan import sysctl

        sysctl.plan_sysctl(planner)
    masks.plan_readonly_paths(planner)
    masks.plan_masked_paths(planner)
    if namespaces.enters_last(planner):
        from ocipy.plan import pid_namespace

        pid_namespace.plan_enter(planner)
    cgroup.plan_cgroup_pids(planner)
    process.plan_ready(planner, in_user_namespace="user" in planner.namespaces.all)


def _become_process(planner: Planner) -> None:
    """From the container's root to its process, with the wait for start in between."""
    process.plan_become_user(planner)
    if starts_at_once(planner):
        _continue_to_command(planner)
        return
    planner.in_init(WaitForStart(watch=not planner.filter_loaded))
    planner.on_host(WaitForInit(barrier="waiting"))
    if INTEL_RDT in planner.rare:
        from ocipy.plan import intel_rdt

        intel_rdt.plan_keep(planner)
    planner.on_host(Created())
    if HOOKS in planner.rare:
        from ocipy.plan import hooks

        hooks.plan_hooks_start_container(planner)
    process.plan_become_command(planner)


def _continue_to_command(planner: Planner) -> None:
    """For run: the host permits the exec once it has nothing left to do, usually before init gets there. So neither
    waits until the other has been woken up."""
    planner.on_host(TellInit(barrier="start"))
    planner.in_init(GoOn(filtered=planner.filter_loaded))
    planner.on_host(WaitForInit(barrier="waiting"))
    process.plan_become_command(planner)
    planner.on_host(Executed())
    planner.on_host(Running())

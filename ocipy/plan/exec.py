"""exec: a further process in a running container, as another plan made of the steps of create.

Steps that make the container are left out: its namespaces, cgroup and root exist. Steps that make the process are the
same, in the same order (plan/build.py), for a config whose `process` is the one to execute.
"""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.plan import identity, process
from ocipy.plan.fields import process_of
from ocipy.plan.model import Plan
from ocipy.plan.namespaces import clones_mounts, keeps_groups, new_kinds
from ocipy.plan.numbers import parse_list
from ocipy.plan.rare import rare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options

AFFINITY = "/process/execCPUAffinity"


class Target:
    """What a plan needs to know of the running container; set by operations/exec.py, invented in tests.

    kinds: its namespaces that are not the runtime's, by the names of config.json.
    cgroups: the directories that the process must join, by hierarchy, "" for v2; empty without cgroups.
    chosen: whether --cgroup named them.
    """

    __slots__ = ("cgroups", "chosen", "kinds")

    def __init__(self, *, kinds: Sequence[str], cgroups: Mapping[str, str], chosen: bool = False) -> None:
        self.kinds = tuple(kinds)
        self.cgroups = dict(cgroups)
        self.chosen = chosen


def build(config: Config, host: Host, options: Options, target: Target) -> Plan:
    """Return the plan of `exec`. config: as saved by create, with the process to execute. Raises Error.

    options.pid_file and pidfd_socket are told the process before it can have done anything.
    """
    plan = Plan()
    rare("terminal", "plan_check", plan, config, host, options)
    rare("seccomp", "plan_seccomp_compile", plan, config, host, options)
    _join(plan, config, host, options, target)
    _prepare(plan, config, host, options, target)
    process.plan_report(plan, options, "setns")
    plan.on_host("tell", "", barrier="limited")
    plan.in_init("wait", "", barrier="limited")
    _become_process(plan, config, host, options)
    return plan


def _join(plan: Plan, config: Config, host: Host, options: Options, target: Target) -> None:
    """Open everything needed, and make the process that joins the container."""
    plan.on_host("report_pipe", "")
    initial = _affinity(config, "initial")
    # Before the process joins the cgroup: after that the kernel chooses the CPUs (config.md, execCPUAffinity).
    if initial:
        plan.on_host("initial_affinity", AFFINITY + "/initial", cpus=initial)
    else:
        process.plan_affinity(plan, config, host, options)
    if not _has_own_root(config, target):
        plan.on_host("open_root", "/linux/namespaces")
    pointer = "--cgroup" if target.chosen else "/linux/cgroupsPath"
    if target.cgroups:
        plan.on_host("exec_cgroup", pointer, paths=tuple(target.cgroups.items()), chosen=target.chosen)
    plan.on_host(
        "clone_joining",
        "/linux/namespaces",
        kinds=target.kinds,
        chroot=not _has_own_root(config, target),
        drop_groups="user" in target.kinds and not keeps_groups(config),
    )
    rare("intel_rdt", "plan_join", plan, config, host, options)
    process.plan_oom_score(plan, config, host, options)
    plan.on_host("tell", "", barrier="joined")
    plan.on_host("adopt", "/linux/namespaces")
    if target.cgroups:
        # By itself and first of all; on v2 by the clone where possible. A reached limit of processes does not stop a
        # process that moves, but one that is forked there (cgroups(7), pids).
        plan.in_init("cgroup_enter", pointer, but="")
        plan.on_host("exec_cgroup_join", pointer)
    final = _affinity(config, "final")
    if final:
        plan.on_host("final_affinity", AFFINITY + "/final", cpus=final)
    plan.on_host("give_procfs", "", whole=not clones_mounts(host))
    plan.in_init("take_procfs", "")
    plan.on_host("tell", "", barrier="begin")
    plan.in_init("wait", "", barrier="begin")


def _has_own_root(config: Config, target: Target) -> bool:
    """Whether the container's root is its mount namespace's root; otherwise chroot alone holds it (plan/rootfs.py)."""
    return "mount" in new_kinds(config) and "mount" in target.kinds


def _prepare(plan: Plan, config: Config, host: Host, options: Options, target: Target) -> None:
    """In the container, still with all privileges."""
    plan.in_init("undumpable", "")
    process.plan_session(plan, config, host, options)
    if "user" in target.kinds:
        identity.plan_become_root(plan, config, host, options)
    plan.in_init("exec_root", "")
    plan.in_init("stdio_null", "/linux/devices", required=False)
    rare("terminal", "plan_exec_console", plan, config, host, options)
    rare("lsm", "plan_labels", plan, config, host, options)
    process.plan_ready(plan, config, host, options)


def _affinity(config: Config, member: str) -> tuple[int, ...]:
    affinity = process_of(config).get("execCPUAffinity") or {}
    return parse_list(affinity.get(member) or "")  # type: ignore[arg-type]


def _become_process(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """As in create, but nothing waits for start: end of file on the pipe means that the exec succeeded."""
    process.plan_become_user(plan, config, host, options)
    plan.in_init("let_go", "")
    plan.on_host("wait", "", barrier="waiting")
    process.plan_become_command(plan, config, host, options)
    plan.on_host("executed", "")


def sub_cgroups(paths: Mapping[str, str], given: Sequence[str]) -> dict[str, str]:
    """Return the directories that `--cgroup [CONTROLLER[,…]:]PATH` names, of those of the container. Raises Error.

    A PATH is below the container's cgroup, in every hierarchy if it names no controller. The others stay unchanged.
    """
    chosen = dict(paths)
    seen: set[str] = set()
    for entry in given:
        controllers, colon, path = entry.partition(":")
        if not colon:
            path = entry
            if len(given) > 1:
                raise Error(f"{entry!r} has no controller before the colon", pointer="--cgroup", hint="CONTROLLER:PATH")
        if ".." in path.split("/"):
            raise Error(f"{path} is not a sub cgroup path", pointer="--cgroup", hint=".. could lead out of it")
        for name in _hierarchies(paths, controllers) if colon else paths:
            if name in seen:
                raise Error(f"two paths are given for the same controller: {name}", pointer="--cgroup")
            seen.add(name)
            below = "/".join(part for part in path.split("/") if part not in ("", "."))
            chosen[name] = paths[name] + "/" + below if below else paths[name]
    return chosen


def _hierarchies(paths: Mapping[str, str], controllers: str) -> list[str]:
    """Return the hierarchies of controllers given as "cpu,memory". Raises Error."""
    found = []
    for controller in controllers.split(","):
        name = next((name for name in paths if name and controller in (name, *name.split(","))), "")
        if not name:
            raise Error(
                f"the container has no cgroup with a controller {controller!r}",
                pointer="--cgroup",
                hint="cgroup v2 takes a PATH alone" if "" in paths and len(paths) == 1 else "",
            )
        if name not in found:
            found.append(name)
    return found

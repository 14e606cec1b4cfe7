"""exec: a further process in a running container, as another plan over the steps of create.

What makes a container is left out: its namespaces, cgroup and root are there. What makes a process is the same, in the
same order (plan/build.py), for a config whose `process` is the one to be executed.
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
    """The running container as a plan sees it; filled by operations/exec.py, made up in tests.

    kinds: its namespaces that are not the runtime's, by the names of config.json.
    cgroups: the directories that the process has to be in, by hierarchy, "" for v2; empty where it has none.
    chosen: they were named by --cgroup.
    """

    __slots__ = ("cgroups", "chosen", "kinds")

    def __init__(self, *, kinds: Sequence[str], cgroups: Mapping[str, str], chosen: bool = False) -> None:
        self.kinds = tuple(kinds)
        self.cgroups = dict(cgroups)
        self.chosen = chosen


def build(config: Config, host: Host, options: Options, target: Target) -> Plan:
    """The plan of `exec`. config: as saved by create, with the process to be executed. Raises Error.

    options.pid_file and pidfd_socket are told of the process before it can have done anything.
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
    """What has to be open, and the process that joins the container."""
    plan.on_host("report_pipe", "")
    initial = _affinity(config, "initial")
    # Before the process is in the cgroup: from there on the CPUs are the kernel's affair (config.md, execCPUAffinity).
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
        # By itself and before all else; v2 by the clone, where that can be. A process that moves is not held up by a
        # limit of processes that is reached, as one that is forked there would be (cgroups(7), pids).
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
    """The container's root is that of its mount namespace; else it is held by chroot alone (plan/rootfs.py)."""
    return "mount" in new_kinds(config) and "mount" in target.kinds


def _prepare(plan: Plan, config: Config, host: Host, options: Options, target: Target) -> None:
    """In the container, with all rights still there."""
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
    """As in create, but that nothing waits for start: the end of the pipe tells that the exec has happened."""
    process.plan_become_user(plan, config, host, options)
    plan.in_init("let_go", "")
    plan.on_host("wait", "", barrier="waiting")
    process.plan_become_command(plan, config, host, options)
    plan.on_host("executed", "")


def sub_cgroups(paths: Mapping[str, str], given: Sequence[str]) -> dict[str, str]:
    """The directories that `--cgroup [CONTROLLER[,…]:]PATH` names, of those of the container. Raises Error.

    A PATH is below the container's cgroup, in every hierarchy if no controller is named. The others stay as they are.
    """
    chosen = dict(paths)
    seen: set[str] = set()
    for entry in given:
        controllers, colon, path = entry.partition(":")
        if not colon:
            path = entry
            if len(given) > 1:
                raise Error(f"{entry!r} has no controller before it", pointer="--cgroup", hint="CONTROLLER:PATH")
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
    """The hierarchies of controllers that are given as "cpu,memory". Raises Error."""
    found = []
    for controller in controllers.split(","):
        name = next((name for name in paths if name and controller in (name, *name.split(","))), "")
        if not name:
            raise Error(
                f"the container has no cgroup of a controller {controller!r}",
                pointer="--cgroup",
                hint="cgroup v2 takes a PATH alone" if "" in paths and len(paths) == 1 else "",
            )
        if name not in found:
            found.append(name)
    return found

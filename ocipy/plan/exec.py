"""exec: another process in a running container. Its plan is made of the same steps as create's.

Steps that make the container are left out: its namespaces, cgroup and root exist. Steps that make the process are the
same, in the same order (plan/build.py), for a config whose `process` is the one to execute.
"""

from __future__ import annotations

from ocipy.config.ids import keeps_groups, unmapped
from ocipy.errors import Error
from ocipy.plan import identity, process
from ocipy.plan.cgroup_enter import CgroupEnter
from ocipy.plan.fields import process_of
from ocipy.plan.lane import Adopt, GiveProcfs, TakeProcfs, TellInit, Undumpable, WaitForHost, WaitForInit
from ocipy.plan.model import HostStep, InitStep, Planner, if_set, phrase
from ocipy.plan.namespaces import clones_mounts
from ocipy.plan.numbers import parse_list
from ocipy.plan.process import StdioNull
from ocipy.plan.rare import INTEL_RDT, LSM, SECCOMP, TERMINAL
from ocipy.plan.waiting import Executed, LetGo, ReportPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan

AFFINITY = "/process/execCPUAffinity"


class AffinityStep(HostStep):
    """Run on these CPUs."""

    cpus: tuple[int, ...]

    def describe(self) -> str:
        return "CPUs " + ",".join(map(str, self.cpus))


class InitialAffinity(AffinityStep):
    """Run on these CPUs from here on: the cloned process starts there."""


class OpenRoot(HostStep):
    """Open the root of the container's process, if the container has no mount namespace."""

    words = "the root directory of the container's process"


class ExecCgroup(HostStep):
    """Take the container's cgroup. paths: (hierarchy, directory). chosen: --cgroup named them."""

    paths: tuple[tuple[str, str], ...]
    chosen: bool

    def describe(self) -> str:
        return phrase(*(path for _, path in self.paths)) + if_set(self.chosen, ", chosen by --cgroup")


class CloneJoining(HostStep):
    """Clone the process that joins namespaces of these kinds. chroot: that alone holds the container's root."""

    kinds: tuple[str, ...]
    chroot: bool
    drop_groups: bool

    def describe(self) -> str:
        joins = phrase("joins", *self.kinds) if self.kinds else "joins no namespace"
        return joins + if_set(self.chroot, ", and enters the container's root by chroot")


class ExecCgroupJoin(HostStep):
    """Move the process into the v2 cgroup, unless it was cloned there."""

    words = "the unified hierarchy, unless the clone did it"


class FinalAffinity(AffinityStep):
    """Set the CPUs of the process, now that it is in its cgroup."""


class ExecRoot(InitStep):
    """Open the root, in which the process already is."""

    words = "the root that the process entered when it joined"


class Target:
    """What a plan needs to know of the running container; set by operations/exec.py, invented in tests.

    kinds: its namespaces that are not the runtime's, by the names of config.json.
    cgroups: the directories that the process must enter, by hierarchy, "" for v2; empty without cgroups.
    chosen: whether --cgroup named them.
    """

    __slots__ = ("cgroups", "chosen", "kinds")

    def __init__(self, *, kinds: Sequence[str], cgroups: Mapping[str, str], chosen: bool = False) -> None:
        self.kinds = tuple(kinds)
        self.cgroups = dict(cgroups)
        self.chosen = chosen


def build(config: Config, host: Host, options: Options, target: Target) -> Plan:
    """Return the plan of `exec`. config: as saved by create, with the process to execute. Raises Error.

    The process is reported to options.pid_file and pidfd_socket before it can have done anything.
    """
    for pointer, text in unmapped(config):
        raise Error(text, pointer=pointer)
    planner = Planner(config, host, options)
    if TERMINAL in planner.rare:
        from ocipy.plan import terminal

        terminal.plan_check(planner)
    if SECCOMP in planner.rare:
        from ocipy.plan import seccomp

        seccomp.plan_seccomp_compile(planner)
    _join(planner, target)
    _prepare(planner, target)
    _become_process(planner)
    return planner.plan


def _join(planner: Planner, target: Target) -> None:
    """Open everything needed, and make the process that joins the container."""
    config = planner.config
    planner.on_host(ReportPipe())
    initial = _affinity(config, "initial")
    # Before the process joins the cgroup: after that the kernel chooses the CPUs (config.md, execCPUAffinity).
    if initial:
        planner.on_host(InitialAffinity(AFFINITY + "/initial", cpus=initial))
    else:
        process.plan_affinity(planner)
    if not _has_own_root(planner, target):
        planner.on_host(OpenRoot("/linux/namespaces"))
    pointer = "--cgroup" if target.chosen else "/linux/cgroupsPath"
    if target.cgroups:
        planner.on_host(ExecCgroup(pointer, paths=tuple(target.cgroups.items()), chosen=target.chosen))
    planner.on_host(
        CloneJoining(
            "/linux/namespaces",
            kinds=target.kinds,
            chroot=not _has_own_root(planner, target),
            drop_groups="user" in target.kinds and not keeps_groups(config),
        )
    )
    if INTEL_RDT in planner.rare:
        from ocipy.plan import intel_rdt

        intel_rdt.plan_join(planner)
    process.plan_oom_score(planner)
    planner.on_host(TellInit(barrier="joined"))
    planner.on_host(Adopt("/linux/namespaces"))
    if target.cgroups:
        # The process enters by itself, before it does anything else; on v2 the clone puts it there if possible. A full
        # cgroup still accepts a process that moves in, but not one that is forked there (cgroups(7), pids).
        planner.in_init(CgroupEnter(pointer, skip=""))
        planner.on_host(ExecCgroupJoin(pointer))
    final = _affinity(config, "final")
    if final:
        planner.on_host(FinalAffinity(AFFINITY + "/final", cpus=final))


def _has_own_root(planner: Planner, target: Target) -> bool:
    """Whether the container's root is its mount namespace's root; otherwise chroot alone holds it (plan/rootfs.py)."""
    return "mount" in planner.namespaces.new and "mount" in target.kinds


def _prepare(planner: Planner, target: Target) -> None:
    """In the container, still with all privileges."""
    planner.in_init(Undumpable())
    if planner.host.selinux:
        _plan_begin(planner)  # the label of a key is set through /proc
    process.plan_session(planner)
    if "user" in target.kinds:
        identity.plan_become_root(planner)
    planner.in_init(ExecRoot())
    if not planner.host.selinux:
        _plan_begin(planner)
    planner.in_init(StdioNull("/linux/devices", required=False))
    if TERMINAL in planner.rare:
        from ocipy.plan import terminal

        terminal.plan_exec_console(planner)
    if LSM in planner.rare:
        from ocipy.plan import lsm

        lsm.plan_labels(planner)
    process.plan_ready(planner, in_user_namespace="user" in target.kinds, pidfd_name="setns")


def _plan_begin(planner: Planner) -> None:
    """Let init go on once the host has adopted it and moved it into its cgroup. Until then it needs no procfs."""
    planner.on_host(GiveProcfs(whole=not clones_mounts(planner.host)))
    planner.in_init(TakeProcfs())
    planner.on_host(TellInit(barrier="begin"))
    planner.in_init(WaitForHost(barrier="begin"))


def _affinity(config: Config, member: str) -> tuple[int, ...]:
    affinity = process_of(config).get("execCPUAffinity") or {}
    return parse_list(affinity.get(member) or "")  # type: ignore[arg-type]


def _become_process(planner: Planner) -> None:
    """As in create, but nothing waits for start: end of file on the pipe means that the exec succeeded."""
    process.plan_become_user(planner)
    planner.in_init(LetGo())
    planner.on_host(WaitForInit(barrier="waiting"))
    process.plan_become_command(planner)
    planner.on_host(Executed())


def sub_cgroups(paths: Mapping[str, str], given: Sequence[str]) -> dict[str, str]:
    """Return the directories to enter: the container's, or what `--cgroup [CONTROLLER[,…]:]PATH` says. Raises Error.

    A PATH is below the container's cgroup, in every hierarchy if no controller is named. Other hierarchies stay as
    they are.
    """
    chosen = dict(paths)
    seen: set[str] = set()
    for entry in given:
        controllers, colon, path = entry.partition(":")
        if not colon:
            path = entry
            if len(given) > 1:
                hint = "with several --cgroup flags, each has the form CONTROLLER:PATH"
                raise Error(f"{entry!r} names no controller", pointer="--cgroup", hint=hint)
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

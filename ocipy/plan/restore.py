"""restore: another plan made of the steps of create, with criu in place of the init lane.

criu joins the cgroup, or systemd makes the unit with criu in it, and the restored processes inherit it. The limits are
set before the processes exist. The hooks of the runtime's namespaces run between the creation of the namespaces and of
the processes. What init does at create is in the images. Cold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocipy.plan import build as create
from ocipy.plan.checkpoint import NO_NEW_PRIVS, describe_version, refuse
from ocipy.plan.fields import process_of
from ocipy.plan.model import Plan
from ocipy.plan.process import plan_report

if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Step

# Steps of the host lane that restore shares with create, in addition to the cgroup's. init's own two are left out.
BEFORE = ("hook_output", "keep_hook", "open_namespace", "rdt_group", "rdt_schema", "rdt_monitoring")
NOT_KEPT = ("cgroup_open", "cgroup_join")


def build(config: Config, host: Host, options: Options) -> tuple[Plan, Plan]:
    """Return (the plan of restore, that of create). Raises Error for a refused field, with its pointer."""
    made = create.build(config, host, options)
    refuse(config, made)
    clone = next(index for index, step in enumerate(made.host) if step.action in ("clone", "clone_stage"))
    before, after = made.host[:clone], made.host[clone:]
    plan = Plan()
    plan.warnings = made.warnings
    plan.on_host("private_procfs", "", sysctl=False)
    plan.on_host("restoring", "")
    plan.on_host("restore_mount_points", "/mounts")
    plan.host += [step for step in before if step.action in BEFORE or _is_of_cgroup(step)]
    plan.host += [step for step in after if step.action == "cgroup_cpuset"]  # nothing can join before it
    plan.on_host("restore_criu", "/root/path")
    if any(step.action == "cgroup_create" for step in before):
        plan.on_host("restore_join", "/linux/cgroupsPath")
    plan.host += [step for step in after if _is_of_cgroup(step) and step.action != "cgroup_cpuset"]
    plan.on_host("restore_namespaces", "/linux/namespaces")
    # criu is told to leave a network namespace empty, and restores sockets only if their addresses exist.
    for step in made.init:
        if step.action == "loopback":
            plan.on_host("restore_loopback", step.pointer)
    plan.host += [step for step in after if step.action in ("rdt_join", "net_devices", "hook")]
    plan.on_host("restore_processes", "")
    plan.host += [step for step in after if step.action == "send_console"]
    plan.host += [step for step in after if step.action == "rdt_keep"]
    plan.on_host("restored", "")
    plan_report(plan, options, "standard")
    return plan, made


def lost_by(version: int, config: Config) -> list[tuple[str, str]]:
    """Return warnings, as in a plan, of what a container loses when this version of criu restores it."""
    if version < NO_NEW_PRIVS and process_of(config).get("noNewPrivileges"):
        text = f"criu {describe_version(version)} does not restore no_new_privs; {describe_version(NO_NEW_PRIVS)} does"
        return [("/process/noNewPrivileges", text)]
    return []


def _is_of_cgroup(step: Step) -> bool:
    return step.action.startswith(("cgroup_", "systemd_")) and step.action not in NOT_KEPT

"""process: args, env, cwd, umask, oomScoreAdj, noNewPrivileges; and what else every process needs."""

from __future__ import annotations

from ocipy.plan import identity, rlimits
from ocipy.plan.capabilities import plan_sets
from ocipy.plan.fields import NO_PROCESS, kept_for_start, process_of
from ocipy.plan.namespaces import new_kinds
from ocipy.plan.rare import rare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Process
    from ocipy.plan.model import Host, Options, Plan

# What runc and crun use if the config gives none; engines rely on it.
DEFAULT_UMASK = 0o022


def plan_oom_score(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Written by the host while init is dumpable. If missing, left alone (spec: MUST NOT be changed)."""
    score = process_of(config).get("oomScoreAdj")
    if score is None:
        return
    plan.on_host("oom_score_adj", "/process/oomScoreAdj", score=score, rootless=host.rootless)


def plan_affinity(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Allow all CPUs of the cgroup, not only those that the caller is pinned to."""
    plan.on_host("reset_affinity", "")


def plan_session(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Drop what belongs to the caller: its signal handling, umask, terminal and keys."""
    plan.in_init("reset_signals", "")
    plan.in_init("session", "")
    if not options.no_new_keyring:
        label = process_of(config).get("selinuxLabel") or ""
        plan.in_init(
            "keyring",
            "",
            name="_ses." + options.container_id,
            in_user_namespace="user" in new_kinds(config),
            label=label if host.selinux else "",
        )


def plan_make_cwd(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make a missing working directory: in the new root, before that becomes read-only."""
    cwd = process_of(config)["cwd"]
    assert cwd.startswith("/")
    plan.in_init("make_cwd", "/process/cwd", path=cwd)


def plan_no_new_privileges(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Before the filter, which requires it (seccomp(2))."""
    if process_of(config).get("noNewPrivileges"):
        plan.in_init("no_new_privileges", "/process/noNewPrivileges")


def plan_ready(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Do the last work with all privileges; then the host sets and sends what would restrict or expose the setup."""
    plan_no_new_privileges(plan, config, host, options)
    rare("scheduling", "plan_scheduling", plan, config, host, options)
    plan.in_init("tell", "", barrier="ready")
    plan.on_host("wait", "", barrier="ready")
    rlimits.plan_rlimits(plan, config, host, options)
    rare("terminal", "plan_send_console", plan, config, host, options)


def plan_become_user(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """From the container's root to the user of the process, and its command: privileges only ever decrease."""
    plan_before_ids(plan, config, host, options)
    # After the paths are walked: a filter that does not know openat2 or close_range denies them.
    rare("seccomp", "plan_seccomp_early", plan, config, host, options)
    identity.plan_identity(plan, config, host, options)
    plan_after_ids(plan, config, host, options)
    rare("seccomp", "plan_seccomp_listener", plan, config, host, options)


def plan_become_command(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """From the user's process to its command: close what is not the payload's, and load the filter."""
    plan.in_init("close_descriptors", "", keep=())
    plan.in_init("tell_executing", "")
    rare("seccomp", "plan_seccomp_late", plan, config, host, options)
    plan_execute(plan, config, host, options)


def plan_before_ids(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Set working directory, environment and umask, while init is still root of the container."""
    process = process_of(config)
    user = process.get("user") or {}
    plan.in_init(
        "environment",
        "/process/env",
        variables=environment_of(process),
        uid=user.get("uid") or 0,
        listen_fds=options.listen_fds,
    )
    # chdir and the lookup of the command could use any descriptor still open here (CVE-2024-21626).
    plan.in_init("close_descriptors", "", keep=kept_for_start(config))
    plan.in_init("working_directory", "/process/cwd", path=process["cwd"])
    umask = user.get("umask")
    plan.in_init("umask", "/process/user/umask", mask=DEFAULT_UMASK if umask is None else umask & 0o777)


def plan_after_ids(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Do or check what needs the final user."""
    process = process_of(config)
    plan.in_init("working_directory_again", "/process/cwd", path=process["cwd"])
    plan_sets(plan, config, host, options)
    if process is not NO_PROCESS:
        plan.in_init("command", "/process/args/0", name=arguments_of(process)[0])


def plan_execute(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """End the init lane."""
    process = process_of(config)
    if process is NO_PROCESS:
        plan.in_init("no_process", "/process")
    else:
        plan.in_init("execute", "/process/args", arguments=arguments_of(process))


def arguments_of(process: Process) -> tuple[str, ...]:
    """Return process.args."""
    arguments = tuple(process.get("args") or ())
    assert arguments
    return arguments


def environment_of(process: Process) -> tuple[str, ...]:
    """Return process.env as NAME=value, each name once: the last of several counts."""
    variables = {entry.partition("=")[0]: entry for entry in process.get("env") or ()}
    return tuple(variables.values())


def plan_report(plan: Plan, options: Options, pidfd_name: str) -> None:
    """Tell --pidfd-socket and --pid-file the process. The pid file comes last: engines take it as success.

    pidfd_name: tells the receiver what kind of process the pidfd refers to.
    """
    if options.pidfd_socket:
        plan.on_host("send_pidfd", "--pidfd-socket", path=options.pidfd_socket, name=pidfd_name)
    if options.pid_file:
        plan.on_host("pid_file", "--pid-file", path=options.pid_file)

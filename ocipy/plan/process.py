"""process: args, env, cwd, umask, oomScoreAdj, noNewPrivileges; and what else every process needs."""

from __future__ import annotations

from ocipy.plan import identity, rlimits
from ocipy.plan.capabilities import plan_sets
from ocipy.plan.fields import NO_PROCESS, process_of, runs_hooks_later
from ocipy.plan.keyring import plan_keyring
from ocipy.plan.lane import meet, reached
from ocipy.plan.model import HostStep, InitStep, counted, if_set, phrase
from ocipy.plan.rare import SCHEDULING, SECCOMP, TERMINAL
from ocipy.plan.waiting import TellExecuting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Process
    from ocipy.plan.model import Planner

# What runc and crun use if the config gives none; engines rely on it.
DEFAULT_UMASK = 0o022


class OomScoreAdj(HostStep):
    """Write /proc/PID/oom_score_adj. rootless: a score that may not be set only causes a warning."""

    score: int
    rootless: bool

    def describe(self) -> str:
        return str(self.score)


class ResetAffinity(HostStep):
    """Allow all CPUs that the cgroup permits."""

    words = "to all CPUs of the cgroup"


class ResetSignals(InitStep):
    """Set default dispositions and unblock all signals."""

    words = "nothing ignored, nothing blocked"


class HeedSignals(InitStep):
    """Let `kill` end a container that waits for start."""

    words = "HUP INT QUIT TERM end init until the exec"


class Session(InitStep):
    """setsid(2)."""

    words = "a new session"


class StdioNull(InitStep):
    """Replace the host's /dev/null in the standard streams with the container's. required: create has made one."""

    required: bool

    def describe(self) -> str:
        return "the container's /dev/null replaces the host's" + if_set(not self.required, ", if there is one")


class MakeCwd(InitStep):
    """Make the working directory if it is missing."""

    path: str

    def describe(self) -> str:
        return self.path + ", if it is missing"


class NoNewPrivileges(InitStep):
    """PR_SET_NO_NEW_PRIVS."""

    words = "from here on an exec grants no privileges"


class CloseDescriptors(InitStep):
    """Close everything except the standard streams, the payload's descriptors, and what is needed later.

    for_start: the FIFOs at which init waits. for_hooks: the files for the output of startContainer hooks. for_entry:
    the root, and the pid namespace that init enters next.
    """

    for_start: bool = False
    for_hooks: bool = False
    for_entry: bool = False

    def describe(self) -> str:
        return "all except the payload's" + if_set(self.for_start, " and those that start needs")


class WorkingDirectory(InitStep):
    """Change to it as root of the container."""

    path: str

    def describe(self) -> str:
        return self.path


class WorkingDirectoryAgain(InitStep):
    """Change to it as the final user if root could not."""

    path: str

    def describe(self) -> str:
        return self.path + ", as the final user if root could not enter it"


class Environment(InitStep):
    """Set the environment. variables: NAME=value. uid: whose home becomes HOME. listen_fds: for sd_listen_fds(3)."""

    variables: tuple[str, ...]
    uid: int
    listen_fds: int

    def describe(self) -> str:
        return counted(len(self.variables), "variable")


class Umask(InitStep):
    """umask(2)."""

    mask: int

    def describe(self) -> str:
        return f"{self.mask:04o}"


class Command(InitStep):
    """Find the command as execvp(3) would."""

    name: str

    def describe(self) -> str:
        return phrase("look up", self.name)


class Execute(InitStep):
    """execve(2)."""

    arguments: tuple[str, ...]

    def describe(self) -> str:
        return " ".join(self.arguments)


class NoProcess(InitStep):
    """start MUST generate an error if process was not set (runtime.md, Start)."""

    words = "no process: start will fail"


def plan_oom_score(planner: Planner) -> None:
    """Have the host write it while init is dumpable. Without one, leave it alone (spec: MUST NOT be changed)."""
    score = process_of(planner.config).get("oomScoreAdj")
    if score is None:
        return
    planner.on_host(OomScoreAdj("/process/oomScoreAdj", score=score, rootless=planner.host.rootless))


def plan_affinity(planner: Planner) -> None:
    """Allow all CPUs of the cgroup, not only those that the caller is pinned to."""
    planner.on_host(ResetAffinity())


def plan_session(planner: Planner) -> None:
    """Drop what belongs to the caller: its signal handling, umask, terminal and keys."""
    planner.in_init(ResetSignals())
    planner.in_init(Session())
    plan_keyring(planner)


def plan_make_cwd(planner: Planner) -> None:
    """Make a missing working directory: in the new root, before that becomes read-only."""
    cwd = process_of(planner.config)["cwd"]
    assert cwd.startswith("/")
    planner.in_init(MakeCwd("/process/cwd", path=cwd))


def plan_no_new_privileges(planner: Planner) -> None:
    """Before the filter, which requires it (seccomp(2))."""
    if process_of(planner.config).get("noNewPrivileges"):
        planner.in_init(NoNewPrivileges("/process/noNewPrivileges"))


def plan_ready(planner: Planner, *, in_user_namespace: bool, pidfd_name: str = "") -> None:
    """Plan the last work with all privileges, and what would restrict or expose the setup. Init does what it may, and
    waits for the host only if the host has something to do.

    in_user_namespace: init is in another user namespace than the runtime. pidfd_name: the host also reports the process
    (pid_file.plan_report).
    """
    plan_no_new_privileges(planner)
    if SCHEDULING in planner.rare:
        from ocipy.plan import scheduling

        scheduling.plan_scheduling(planner)
    before = reached(planner)
    rlimits.plan_rlimits(planner, by_host=in_user_namespace)
    if TERMINAL in planner.rare:
        from ocipy.plan import terminal

        terminal.plan_send_console(planner)
    if pidfd_name and (planner.options.pid_file or planner.options.pidfd_socket):
        from ocipy.plan.pid_file import plan_report

        plan_report(planner, pidfd_name)
    meet(planner, before, "ready", "limited")


def plan_become_user(planner: Planner) -> None:
    """From the container's root to the user of the process, and its command: privileges only ever decrease."""
    plan_before_ids(planner)
    # After the paths are walked: a filter that does not know openat2 or close_range denies them.
    if SECCOMP in planner.rare:
        from ocipy.plan import seccomp

        seccomp.plan_seccomp_early(planner)
    identity.plan_identity(planner)
    plan_after_ids(planner)
    if SECCOMP in planner.rare:
        from ocipy.plan import seccomp

        seccomp.plan_seccomp_listener(planner)


def plan_become_command(planner: Planner) -> None:
    """From the user's process to its command: close what is not the payload's, and load the filter."""
    planner.in_init(CloseDescriptors())
    planner.in_init(TellExecuting())
    if SECCOMP in planner.rare:
        from ocipy.plan import seccomp

        seccomp.plan_seccomp_late(planner)
    plan_execute(planner)


def plan_before_ids(planner: Planner) -> None:
    """Set working directory, environment and umask, while init is still root of the container."""
    config = planner.config
    process = process_of(config)
    user = process.get("user") or {}
    planner.in_init(
        Environment(
            "/process/env",
            variables=environment_of(process),
            uid=user.get("uid") or 0,
            listen_fds=planner.options.listen_fds,
        )
    )
    # chdir and the lookup of the command could use any descriptor still open here (CVE-2024-21626).
    planner.in_init(CloseDescriptors(for_start=True, for_hooks=runs_hooks_later(config)))
    planner.in_init(WorkingDirectory("/process/cwd", path=process["cwd"]))
    umask = user.get("umask")
    planner.in_init(Umask("/process/user/umask", mask=DEFAULT_UMASK if umask is None else umask & 0o777))


def plan_after_ids(planner: Planner) -> None:
    """Plan what must be done or checked as the final user."""
    process = process_of(planner.config)
    planner.in_init(WorkingDirectoryAgain("/process/cwd", path=process["cwd"]))
    plan_sets(planner)
    if process is not NO_PROCESS:
        planner.in_init(Command("/process/args/0", name=arguments_of(process)[0]))


def plan_execute(planner: Planner) -> None:
    """End the init lane."""
    process = process_of(planner.config)
    if process is NO_PROCESS:
        planner.in_init(NoProcess("/process"))
    else:
        planner.in_init(Execute("/process/args", arguments=arguments_of(process)))


def arguments_of(process: Process) -> tuple[str, ...]:
    """Return process.args."""
    arguments = tuple(process.get("args") or ())
    assert arguments
    return arguments


def environment_of(process: Process) -> tuple[str, ...]:
    """Return process.env as NAME=value, each name once: the last of several counts."""
    variables = {entry.partition("=")[0]: entry for entry in process.get("env") or ()}
    return tuple(variables.values())

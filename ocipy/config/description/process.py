"""The process section of config.json, which `exec --process` also takes by itself (config.md, Process)."""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.markers import CheckedLater, Doc, In, Only, Since
from ocipy.config.description.values import (
    CPUList,
    Int32,
    IOPriorityClass,
    RlimitName,
    SchedulerFlag,
    SchedulerPolicy,
    Uint32,
    Uint64,
)


class ConsoleSize(TypedDict):
    """The size of the terminal, in characters."""

    height: int
    """Rows, 0 to 65535."""
    width: int
    """Columns, 0 to 65535."""


class User(TypedDict, total=False):
    """The user and groups of the process, as ids in the container's user namespace."""

    uid: Uint32
    """The user id; 0 if absent."""
    gid: Uint32
    """The group id; 0 if absent."""
    umask: Annotated[Uint32, Since("1.0.2"), In("plan/process init/process")]
    """The file mode creation mask, as a decimal number: 18 is 022."""
    additionalGids: list[Uint32]
    """Supplementary group ids."""


class Capabilities(TypedDict, total=False):
    """The capability sets of the process, with names as in capabilities(7); a missing set is empty."""

    bounding: list[str]
    """The most that the process and its descendants can ever have."""
    permitted: list[str]
    """Capabilities that it may make effective."""
    effective: list[str]
    """Capabilities that the kernel checks."""
    inheritable: list[str]
    """Capabilities that an executed file may keep through its own inheritable set."""
    ambient: list[str]
    """Capabilities that an ordinary executed file keeps; they must also be permitted and inheritable."""


class Rlimit(TypedDict):
    """A resource limit: getrlimit(2)."""

    type: Annotated[RlimitName, In("plan/rlimits")]
    """The resource, such as RLIMIT_NOFILE."""
    soft: Uint64
    """The limit that is in force."""
    hard: Uint64
    """The highest value to which the process may raise the soft limit."""


# Written as a call, since "class" is a keyword of Python.
IOPriority = TypedDict(
    "IOPriority",
    {
        "class": Required[
            Annotated[IOPriorityClass, Doc("The class: real time, best effort or idle."), In("plan/scheduling")]
        ],
        "priority": Annotated[Int32, Doc("The level in the class, 0 (highest) to 7 (lowest); 0 if absent.")],
    },
    total=False,
)
"""The priority of the process at block devices: ioprio_set(2)."""


class Scheduler(TypedDict, total=False):
    """How the process is scheduled: sched_setattr(2), sched(7). Missing numbers are 0."""

    policy: Required[SchedulerPolicy]
    """The scheduling policy; Linux does not implement SCHED_ISO."""
    nice: Int32
    """The nice value, -20 (most favourable) to 19, for SCHED_OTHER and SCHED_BATCH."""
    priority: Int32
    """The static priority, 1 to 99 (highest), for SCHED_FIFO and SCHED_RR."""
    flags: list[SchedulerFlag]
    """Flags of sched_setattr(2)."""
    runtime: Uint64
    """SCHED_DEADLINE: nanoseconds of CPU time in each period."""
    deadline: Uint64
    """SCHED_DEADLINE: nanoseconds from the start of a period to its deadline."""
    period: Uint64
    """SCHED_DEADLINE: the length of a period in nanoseconds."""


class ExecCPUAffinity(TypedDict, total=False):
    """The CPUs of a process that `ocipy exec` starts; the container's first process ignores it."""

    initial: CPUList
    """CPUs that it may use until it is in the container's cgroup, such as 0-3,7."""
    final: CPUList
    """CPUs that it may use afterwards; if absent, the kernel decides."""


class Process(TypedDict, total=False):
    """A process of the container."""

    cwd: Required[Annotated[str, In("plan/process init/process")]]
    """Its working directory, an absolute path in the container."""
    terminal: Annotated[bool, In("terminal")]
    """Give it a pseudoterminal as standard input, output and error."""
    consoleSize: Annotated[ConsoleSize, CheckedLater(), In("plan/terminal init/terminal", below="plan/terminal")]
    """The size of its terminal; ignored unless terminal is true."""
    user: Annotated[User, In("identity")]
    """Its user, groups and file mode creation mask."""
    args: Annotated[list[str], In("plan/process init/process init/lookup")]
    """The command and its arguments; the command is looked up in the PATH of env. ocipy requires args."""
    env: Annotated[list[str], In("plan/process init/process")]
    """Its complete environment, as NAME=VALUE."""
    capabilities: Annotated[Capabilities, Only("Linux"), In("capabilities")]
    """Its capabilities; those that the caller cannot grant are left out, with a warning."""
    rlimits: Annotated[list[Rlimit], Only("POSIX"), In("rlimits")]
    """Its resource limits, each type once."""
    noNewPrivileges: Annotated[bool, Only("Linux"), In("plan/process init/process")]
    """An exec never grants privileges, through set-user-ID or file capabilities: PR_SET_NO_NEW_PRIVS."""
    apparmorProfile: Annotated[str, Only("Linux"), In("lsm")]
    """The AppArmor profile that its command runs under."""
    selinuxLabel: Annotated[str, Only("Linux"), In("lsm")]
    """The SELinux context that its command runs in."""
    oomScoreAdj: Annotated[int, Only("Linux"), In("plan/process host/process")]
    """How likely the OOM killer is to choose it, from -1000 (never) to 1000; by default the caller's."""
    scheduler: Annotated[Scheduler, Since("1.1"), Only("Linux"), In("scheduling")]
    """Its scheduling policy and parameters."""
    ioPriority: Annotated[IOPriority, Since("1.1"), Only("Linux"), In("scheduling")]
    """Its priority at block devices."""
    execCPUAffinity: Annotated[ExecCPUAffinity, Since("1.2.1"), Only("Linux"), In("plan/exec host/exec")]
    """The CPUs of a process that `ocipy exec` starts."""

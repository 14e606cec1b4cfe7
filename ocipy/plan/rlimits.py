"""process.rlimits: getrlimit(2)."""

from __future__ import annotations

from ocipy.errors import in_bytes
from ocipy.linux import constants
from ocipy.plan.fields import process_of
from ocipy.plan.model import HostStep, InitStep, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Planner

UNLIMITED = 2**64 - 1
# getrlimit(2)
IN_BYTES = ("AS", "CORE", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE", "RSS", "STACK")
UNITS = {"CPU": " s", "RTTIME": " µs"}
PERMITTING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
RESOURCES = {
    "RLIMIT_CPU": constants.RLIMIT_CPU,
    "RLIMIT_FSIZE": constants.RLIMIT_FSIZE,
    "RLIMIT_DATA": constants.RLIMIT_DATA,
    "RLIMIT_STACK": constants.RLIMIT_STACK,
    "RLIMIT_CORE": constants.RLIMIT_CORE,
    "RLIMIT_RSS": constants.RLIMIT_RSS,
    "RLIMIT_NPROC": constants.RLIMIT_NPROC,
    "RLIMIT_NOFILE": constants.RLIMIT_NOFILE,
    "RLIMIT_MEMLOCK": constants.RLIMIT_MEMLOCK,
    "RLIMIT_AS": constants.RLIMIT_AS,
    "RLIMIT_LOCKS": constants.RLIMIT_LOCKS,
    "RLIMIT_SIGPENDING": constants.RLIMIT_SIGPENDING,
    "RLIMIT_MSGQUEUE": constants.RLIMIT_MSGQUEUE,
    "RLIMIT_NICE": constants.RLIMIT_NICE,
    "RLIMIT_RTPRIO": constants.RLIMIT_RTPRIO,
    "RLIMIT_RTTIME": constants.RLIMIT_RTTIME,
}

# Below these limits (bytes; seconds; descriptors) init's remaining work before the exec could fail.
TIGHT = {"RLIMIT_AS": 1 << 30, "RLIMIT_CPU": 4, "RLIMIT_DATA": 1 << 28, "RLIMIT_NOFILE": 64, "RLIMIT_STACK": 1 << 23}


class LimitStep(Step):
    """prlimit(2). resource: RLIMIT_…."""

    name: str
    resource: int
    soft: int
    hard: int

    def describe(self) -> str:
        short = _short(self.name)
        return f"{short.lower()} {_value(self.soft, short)}:{_value(self.hard, short)}"


class Rlimit(LimitStep, InitStep):
    """Set by init itself."""


class RlimitFromHost(LimitStep, HostStep):
    """Set by the host."""


class RlimitAtExec(LimitStep, InitStep):
    """Have the execve set it, since it would restrict init itself."""

    def describe(self) -> str:
        return super().describe() + ", set at the exec"


class RaisingStep(Step):
    """Raise the hard limit if it is lower."""

    name: str
    resource: int
    hard: int

    def describe(self) -> str:
        short = _short(self.name)
        return f"{short.lower()}: the hard limit to at least {_value(self.hard, short)}"


class RaiseRlimit(RaisingStep, InitStep):
    """Raised by init itself."""


class RaiseRlimitFromHost(RaisingStep, HostStep):
    """Raised by the host."""


def _short(name: str) -> str:
    return name.removeprefix("RLIMIT_")


def _value(limit: int, name: str) -> str:
    """Format a limit with its unit (getrlimit(2))."""
    if limit == UNLIMITED:
        return "unlimited"
    return in_bytes(limit) if name in IN_BYTES else f"{limit}{UNITS.get(name, '')}"


def plan_rlimits(planner: Planner, *, by_host: bool) -> None:
    """Set as late as possible: they would restrict the setup too. The execve sets tight ones.

    by_host: in a user namespace, init lacks the CAP_SYS_RESOURCE that raising a hard limit needs.
    """
    config = planner.config
    for index, limit in enumerate(process_of(config).get("rlimits") or ()):
        pointer = f"/process/rlimits/{index}"
        name = limit["type"]
        resource, soft, hard = RESOURCES[name], limit["soft"], limit["hard"]
        if soft < TIGHT.get(name, 0) and _filter_permits(config):
            if by_host:
                planner.on_host(RaiseRlimitFromHost(pointer, name=name, resource=resource, hard=hard))
            else:
                planner.in_init(RaiseRlimit(pointer, name=name, resource=resource, hard=hard))
            planner.in_init(RlimitAtExec(pointer, name=name, resource=resource, soft=soft, hard=hard))
        elif by_host:
            planner.on_host(RlimitFromHost(pointer, name=name, resource=resource, soft=soft, hard=hard))
        else:
            planner.in_init(Rlimit(pointer, name=name, resource=resource, soft=soft, hard=hard))


def _filter_permits(config: Config) -> bool:
    """Whether the process may call prlimit(2) with its seccomp filter loaded, as far as we know."""
    profile = (config.get("linux") or {}).get("seccomp")
    if profile is None or not profile["defaultAction"]:
        return True
    rules = [rule for rule in profile.get("syscalls") or () if "prlimit64" in rule["names"]]
    if not rules:
        return profile["defaultAction"] in PERMITTING
    return all(rule["action"] in PERMITTING and not rule.get("args") for rule in rules)

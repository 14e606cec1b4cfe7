"""process.rlimits: getrlimit(2)."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.linux import constants
from ocipy.plan.fields import process_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan

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


def plan_rlimits(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Set by the host, as late as it can: they would bind the runtime's own set-up too."""
    seen: dict[str, str] = {}
    for index, limit in enumerate(process_of(config).get("rlimits") or ()):
        pointer = f"/process/rlimits/{index}"
        name = limit["type"]
        if name not in RESOURCES:
            raise Error(f"{name!r} is not a resource limit of Linux", pointer=pointer + "/type")
        if name in seen:
            # config.md: a duplicated type MUST be an error.
            raise Error(f"{name} is also at {seen[name]}", pointer=pointer + "/type")
        seen[name] = pointer
        if limit["soft"] > limit["hard"]:
            raise Error(f"the soft limit of {name} is above the hard limit", pointer=pointer + "/soft")
        plan.on_host("rlimit", pointer, name=name, resource=RESOURCES[name], soft=limit["soft"], hard=limit["hard"])

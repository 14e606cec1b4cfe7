"""What several concerns read from a config in the same way."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Process, Resources, User

# JSON pointers.
CGROUP = "/linux/cgroupsPath"
RESOURCES = "/linux/resources"
# create takes a config without a process, start does not (config.md, Process; runtime.md, Start).
NO_PROCESS: Process = {"cwd": "/", "args": []}


def process_of(config: Config) -> Process:
    """process, or what a container has that cannot be started."""
    return config.get("process") or NO_PROCESS


def user_of(config: Config) -> User:
    """process.user, empty where it is absent: then the ids are 0."""
    return process_of(config).get("user") or {}


def resources_of(config: Config, *, limited: bool = False) -> Resources:
    """The resources, without a pids limit of 0 from podman, for which that is "unlimited" (docs/cgroups.md).

    For everybody else 0 is a limit: "0 is a valid limit value … and SHOULD be treated as such" (config-linux.md, PIDs).
    limited: there is a limit, which has to go.
    """
    resources = (config.get("linux") or {}).get("resources") or {}
    pids = resources.get("pids") or {}
    annotations = config.get("annotations") or {}
    if pids.get("limit") == 0 and annotations.get("io.container.manager") == "libpod":
        resources = resources.copy()
        if limited:
            resources["pids"] = {"limit": -1}
        else:
            del resources["pids"]
    return resources


def kept_for_start(config: Config) -> tuple[str, ...]:
    """The descriptors that init needs when it is started: the FIFOs, and what startContainer hooks write to
    (plan/hooks.py)."""
    annotations = config.get("annotations") or {}
    kept = (config.get("hooks") or {}).get("startContainer")
    outputs = [name for name in ("stdout", "stderr") if kept and annotations.get(f"run.oci.hooks.{name}")]
    return ("fifo", "report", *("hook/" + name for name in outputs))

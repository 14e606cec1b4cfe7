"""Parts of a config that several concerns read in the same way."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Process, Resources, User

# JSON pointers.
CGROUP = "/linux/cgroupsPath"
RESOURCES = "/linux/resources"
# create accepts a config without a process, start does not (config.md, Process; runtime.md, Start).
NO_PROCESS: Process = {"cwd": "/", "args": []}


class Namespaces:
    """linux.namespaces: those of the container that are not the runtime's, by kind.

    all: their pointers. new: the pointers of those to make. joined: path and pointer of those to join.
    """

    __slots__ = ("all", "joined", "new")

    def __init__(self, config: Config) -> None:
        self.all: dict[str, str] = {}
        self.new: dict[str, str] = {}
        self.joined: dict[str, tuple[str, str]] = {}
        for index, entry in enumerate((config.get("linux") or {}).get("namespaces") or ()):
            kind, path = entry["type"], entry.get("path")
            self.all[kind] = pointer = f"/linux/namespaces/{index}"
            if path:
                self.joined[kind] = (path, pointer)
            else:
                self.new[kind] = pointer


def process_of(config: Config) -> Process:
    """Return process, or a default for a container that cannot be started."""
    return config.get("process") or NO_PROCESS


def user_of(config: Config) -> User:
    """Return process.user, empty if it is missing: then the ids are 0."""
    return process_of(config).get("user") or {}


def resources_of(config: Config, *, limited: bool = False) -> Resources:
    """Return the resources, without a pids limit of 0 from podman, where it means "unlimited" (docs/cgroups.md).

    For all others 0 is a limit: "0 is a valid limit value … and SHOULD be treated as such" (config-linux.md, PIDs).
    limited: a limit exists and must be removed.
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


def runs_hooks_later(config: Config) -> bool:
    """Whether hooks run after start has been called."""
    return bool((config.get("hooks") or {}).get("startContainer"))

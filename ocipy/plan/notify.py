"""NOTIFY_SOCKET in the runtime's environment: the container gets its own socket (sd_notify(3), as in runc)."""

from __future__ import annotations

from ocipy.plan.model import HostStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Mount
    from ocipy.plan.model import Planner

# In the state directory, and in the container.
DIRECTORY = "notify"
SOCKET = "notify.sock"
INSIDE = "/run/notify"


class NotifyDirectory(HostStep):
    """Make the directory for the container's socket."""

    words = "for the socket that NOTIFY_SOCKET names in the container"


def plan_directory(planner: Planner) -> None:
    """Make the directory, first, since it becomes the source of a mount, and plan the config with the socket in it."""
    config = with_notify_socket(planner.config, planner.options.state_directory)
    if config is not planner.config:
        planner.config = config
        planner.on_host(NotifyDirectory())


def with_notify_socket(config: Config, state_directory: str) -> Config:
    """Return the config with the socket's directory among its mounts, and its name in the process's environment.

    The mount has the directory, since the socket is only made when the container is started.
    """
    process = config.get("process")
    if not process:
        return config
    mount: Mount = {
        "destination": INSIDE,
        "source": f"{state_directory}/{DIRECTORY}",
        "options": ["bind", "ro", "nosuid", "noexec", "nodev"],
    }
    env = [*(process.get("env") or ()), f"NOTIFY_SOCKET={INSIDE}/{SOCKET}"]
    return {**config, "mounts": [*(config.get("mounts") or ()), mount], "process": {**process, "env": env}}

"""NOTIFY_SOCKET in the runtime's environment: the container gets its own socket (sd_notify(3), as in runc)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Mount

# In the state directory, and in the container.
DIRECTORY = "notify"
SOCKET = "notify.sock"
INSIDE = "/run/notify"


def with_notify_socket(config: Config, state_directory: str) -> Config:
    """Return the config with the socket's directory among its mounts, and its name in the process's environment.

    The directory, not the socket, which is only made when the container is started.
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

"""Commands and flags of docker, podman, crun and others, with their equivalents here. Cold: only hints of errors."""

from __future__ import annotations

from ocipy.cli.table import IMAGES

COMMANDS = {
    "attach": "`ocipy run` in the foreground keeps the container's streams; attaching later is an engine's job",
    "info": "ocipy features",
    "inspect": "ocipy state ID",
    "logs": "the output goes to the caller of create or run; keeping it is an engine's job: podman logs",
    "ls": "ocipy list",
    "remove": "ocipy delete ID",
    "restart": "ocipy delete --force ID, then ocipy run ID",
    "rm": "ocipy delete ID",
    "stats": "ocipy events --stats ID",
    "status": "ocipy state ID",
    "stop": "ocipy kill ID (TERM by default); ocipy delete ID once it has stopped",
    "top": "ocipy ps ID",
    "unpause": "ocipy resume ID",
    "version": "ocipy --version",
    "wait": "ocipy run in the foreground waits for the process and returns its exit status",
}
"""Another tool's command: the equivalent here."""

OF_ENGINES = (
    "build",
    "commit",
    "compose",
    "container",
    "cp",
    "export",
    "image",
    "images",
    "import",
    "load",
    "login",
    "network",
    "play",
    "pod",
    "port",
    "pull",
    "push",
    "rename",
    "rmi",
    "save",
    "search",
    "tag",
    "volume",
)

_STREAMS = "the standard streams are always the caller's"
_TERMINAL = f"-t alone: {_STREAMS}"
_CONFIG = "it is a field of the bundle's config.json: "
_OF_RUN = {
    "cap-add": _CONFIG + "process.capabilities",
    "cpus": _CONFIG + "linux.resources.cpu",
    "e": _CONFIG + "process.env",
    "entrypoint": _CONFIG + "process.args",
    "env": _CONFIG + "process.env",
    "hostname": _CONFIG + "hostname",
    "i": _STREAMS,
    "interactive": _STREAMS,
    "it": _CONFIG + "process.terminal; " + _STREAMS,
    "m": _CONFIG + "linux.resources.memory",
    "memory": _CONFIG + "linux.resources.memory",
    "mount": _CONFIG + "mounts",
    "name": "the name is the ID, the last word: ocipy run --bundle DIR ID",
    "net": "a network is an engine's job, or a hook's; " + _CONFIG + "linux.namespaces",
    "network": "a network is an engine's job, or a hook's; " + _CONFIG + "linux.namespaces",
    "p": "a network is an engine's job, or a hook's",
    "privileged": _CONFIG + "process.capabilities, linux.maskedPaths and others",
    "publish": "a network is an engine's job, or a hook's",
    "read-only": _CONFIG + "root.readonly",
    "rm": "run deletes the container when it has ended, unless --keep is given",
    "t": _CONFIG + "process.terminal",
    "ti": _CONFIG + "process.terminal; " + _STREAMS,
    "tty": _CONFIG + "process.terminal",
    "u": _CONFIG + "process.user",
    "user": _CONFIG + "process.user",
    "v": _CONFIG + "mounts",
    "volume": _CONFIG + "mounts",
    "w": _CONFIG + "process.cwd",
    "workdir": _CONFIG + "process.cwd",
}

FLAGS = {
    "create": _OF_RUN,
    "exec": {
        "i": _STREAMS,
        "interactive": _STREAMS,
        "it": _TERMINAL,
        "privileged": "--cap CAP_NAME, for each capability",
        "ti": _TERMINAL,
        "w": "--cwd DIR",
        "workdir": "--cwd DIR",
    },
    "kill": {
        "s": "the signal follows the ID: ocipy kill ID SIGNAL",
        "signal": "the signal follows the ID: ocipy kill ID SIGNAL",
    },
    "list": {"a": "list always includes stopped containers", "all": "list always includes stopped containers"},
    "ps": {"a": "ocipy list", "all": "ocipy list"},
    "run": _OF_RUN,
}
"""For each command: another tool's flag, without dashes, and the equivalent here."""


def command_elsewhere(name: str) -> str:
    """The equivalent of another tool's command; "" if it is unknown."""
    if name in OF_ENGINES:
        return f"{name} is an engine's job; {IMAGES}"
    return COMMANDS.get(name, "")


def flag_elsewhere(name: str, command: str) -> str:
    """The equivalent of another tool's flag; "" if it is unknown. name: without dashes."""
    if command == "kill" and name.isdigit():
        return f"the signal follows the ID: ocipy kill ID {name}"
    return FLAGS.get(command, {}).get(name, "")

"""config.json of a box, from the request and the image. Pure: facts about the host are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from ocipy import SPEC_VERSION, Error
from ocipy.box import defaults
from ocipy.box.request import Limits, Request
from ocipy.linux import signals

INIT = "/run/box-init"
# Up to CAP_CHECKPOINT_RESTORE, the kernel's last (capabilities(7)).
_NAMES = """
AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE
MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG
SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE
SYS_TIME SYS_TTY_CONFIG WAKE_ALARM
"""
ALL_CAPABILITIES = tuple("CAP_" + name for name in _NAMES.strip().replace("\n", " ").split(" "))


class ImageConfig(NamedTuple):
    """The process settings in an image's configuration (image-spec, config.md)."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """From the member `config` of an image's configuration."""
        return cls(
            entrypoint=tuple(document.get("Entrypoint") or ()),
            command=tuple(document.get("Cmd") or ()),
            environment=tuple(document.get("Env") or ()),
            cwd=document.get("WorkingDir") or "",
            user=document.get("User") or "",
            stop_signal=document.get("StopSignal") or "",
            labels=document.get("Labels") or {},
        )

    def to_document(self) -> dict[str, Any]:
        """The reverse of from_document."""
        return {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "Env": list(self.environment),
            "WorkingDir": self.cwd,
            "User": self.user,
            "StopSignal": self.stop_signal,
            "Labels": dict(self.labels),
        }


def check_stop_signal(image: ImageConfig) -> None:
    """Raise Error if `stop` could not send the image's signal."""
    if not image.stop_signal:
        return
    try:
        number = signals.number(image.stop_signal)
    except Error as error:
        raise Error(f"the image's StopSignal: {error.what}", hint=error.hint) from None
    if not number:
        raise Error("the image's StopSignal is 0, which is not a signal")


class User(NamedTuple):
    """The process's user, from the image's /etc/passwd and /etc/group. home: "" if they do not give one."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = ""


class Root(NamedTuple):
    """The copy-on-write root. path: root.path, an empty directory that the overlay is mounted on. lower: the image;
    upper, work: the box's. options: more options for overlayfs. is_mounted: fuse-overlayfs has mounted it.
    """

    path: str
    lower: str = ""
    upper: str = ""
    work: str = ""
    options: tuple[str, ...] = ()
    is_mounted: bool = False


class Host(NamedTuple):
    """The facts about the host that the config depends on. rootless: the box needs a user namespace with the caller's
    ids.

    uid_map, gid_map: (inside, outside, size); empty without a user namespace. user_namespace: the path of an existing
    one with these maps, "" for a new one. binds: (source, destination) of files for the box, such as /etc/hosts.
    network: the path of an existing network namespace, "" for a new one, "host" for the host's. init: the path of a
    static init program. cgroup: cgroupsPath, "" for none. v2: whether the host has only cgroup v2. seccomp:
    linux.seccomp, None for no filter.
    """

    rootless: bool = False
    uid_map: tuple[tuple[int, int, int], ...] = ()
    gid_map: tuple[tuple[int, int, int], ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    network: str = ""
    init: str = ""
    cgroup: str = ""
    v2: bool = False
    seccomp: Mapping[str, Any] | None = None
    user_namespace: str = ""


def make_config(request: Request, image: ImageConfig, user: User, root: Root, host: Host) -> dict[str, Any]:
    """The document. Raises Error if parts of the request contradict each other."""
    config: dict[str, Any] = {
        "ociVersion": SPEC_VERSION,
        "process": _process(request, image, user),
        "root": {"path": root.path, "readonly": request.read_only},
        "hostname": request.hostname,
        "mounts": _mounts(request, root, host),
        "linux": _linux(request, host),
    }
    if request.labels:
        # Not the image's labels: a runtime acts on some, such as org.systemd.property.NAME and
        # run.oci.keep_original_groups.
        config["annotations"] = dict(request.labels)
    return config


def capabilities_of(request: Request) -> tuple[str, ...]:
    """The capabilities of the process, by name. Raises Error for an unknown one."""
    if request.privileged:
        return ALL_CAPABILITIES
    # In a separate network namespace raw sockets reach only that network, and ping needs them; docker does the same.
    chosen = {*defaults.CAPABILITIES, *(() if request.network == "host" else ("CAP_NET_RAW",))}
    for word in request.cap_drop:
        chosen -= _named(word, "--cap-drop")
    if any(word.upper() == "ALL" for word in request.cap_drop):
        chosen = set()
    for word in request.cap_add:
        chosen |= _named(word, "--cap-add")
    return tuple(sorted(chosen))


def _named(word: str, flag: str) -> set[str]:
    name = word.upper()
    if name == "ALL":
        return set(ALL_CAPABILITIES)
    name = name if name.startswith("CAP_") else "CAP_" + name
    if name not in ALL_CAPABILITIES:
        raise Error(f"{flag}: unknown capability {word}", status=2)
    return {name}


def arguments_of(request: Request, image: ImageConfig) -> tuple[str, ...]:
    """The command to execute. --entrypoint replaces the image's entrypoint and drops its command; a command in the
    request replaces the image's. Raises Error if there is none."""
    entrypoint = image.entrypoint if request.entrypoint is None else request.entrypoint
    command = request.command or (image.command if request.entrypoint is None else ())
    arguments = (*entrypoint, *command)
    if not arguments:
        raise Error("no command was given, and the image has none", hint="give one after the image", status=2)
    return arguments


def _process(request: Request, image: ImageConfig, user: User) -> dict[str, Any]:
    arguments = arguments_of(request, image)
    if request.init:
        arguments = (INIT, "--", *arguments)
    names = capabilities_of(request)
    effective = names if user.uid == 0 else ()
    return {
        "terminal": request.terminal,
        "user": {"uid": user.uid, "gid": user.gid, **({"additionalGids": list(user.groups)} if user.groups else {})},
        "args": list(arguments),
        "env": environment_of(request, image, user),
        "cwd": request.cwd or "/" + image.cwd.removeprefix("/"),  # some builders leave out the slash
        # As in docker and podman, a user other than root has none, and can gain none outside the bounding set.
        "capabilities": {
            "bounding": list(names),
            "effective": list(effective),
            "permitted": list(effective),
        },
        "rlimits": [{"type": name, "soft": soft, "hard": hard} for name, soft, hard in request.ulimits],
        "noNewPrivileges": not request.privileged and "no-new-privileges=false" not in request.security,
    }


def environment_of(request: Request, image: ImageConfig, user: User) -> list[str]:
    """The image's variables, with defaults for PATH, HOME and, on a terminal, TERM; then HOSTNAME and `container`, then
    the caller's. The last value of a name wins."""
    values = dict(word.partition("=")[::2] for word in (defaults.PATH, *image.environment))
    values.setdefault("HOME", user.home or "/")
    values["HOSTNAME"] = request.hostname
    if request.terminal:
        values.setdefault("TERM", "xterm")
    values["container"] = "ocipy"
    values.update(request.environment)
    return [f"{name}={value}" for name, value in values.items()]


def _mounts(request: Request, root: Root, host: Host) -> list[dict[str, Any]]:
    made = [] if root.is_mounted else [_overlay(root)]
    made += defaults.mounts(request.shm_size, new_network=host.network != "host", cgroup_writable=request.privileged)
    for source, destination in host.binds:
        made.append(_bind(source, destination, ("nosuid", "nodev", "rprivate")))
    if request.init:
        made.append(_bind(host.init, INIT, ("ro", "nosuid", "nodev")))
    for destination, words in request.tmpfs:
        options = ["nosuid", "nodev", *(word for word in words.split(",") if word)]
        made.append({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
    for volume in request.volumes:
        made.append(_bind(volume.source, volume.destination, volume.options))
    return made


def _overlay(root: Root) -> dict[str, Any]:
    """The overlay on "/": it exists only in the box's mount namespace, so it ends with the box."""
    words = [f"lowerdir={root.lower}", f"upperdir={root.upper}", f"workdir={root.work}", *root.options]
    return {"destination": "/", "type": "overlay", "source": "overlay", "options": words}


def _bind(source: str, destination: str, options: Sequence[str]) -> dict[str, Any]:
    words = [word for word in options if word not in ("z", "Z", "U")]
    if "bind" not in words and "rbind" not in words:
        words.insert(0, "rbind")
    return {"destination": destination, "type": "bind", "source": source, "options": words}


def _linux(request: Request, host: Host) -> dict[str, Any]:
    linux: dict[str, Any] = {"namespaces": _namespaces(host), "resources": _resources(request, host)}
    if host.uid_map and not host.user_namespace:
        linux["uidMappings"] = [_mapping(one) for one in host.uid_map]
        linux["gidMappings"] = [_mapping(one) for one in host.gid_map]
    if host.cgroup:
        linux["cgroupsPath"] = host.cgroup
    sysctls = dict((defaults.PING, *request.sysctls) if host.network != "host" else request.sysctls)
    if sysctls:
        linux["sysctl"] = sysctls
    if request.devices:
        linux["devices"] = []  # bundle.with_devices fills it, which looks at the host's devices
    if not request.privileged:
        linux["maskedPaths"] = list(defaults.MASKED_PATHS)
        linux["readonlyPaths"] = list(defaults.READONLY_PATHS)
        if host.seccomp is not None:
            linux["seccomp"] = dict(host.seccomp)
    return linux


def _mapping(one: tuple[int, int, int]) -> dict[str, int]:
    return {"containerID": one[0], "hostID": one[1], "size": one[2]}


def _namespaces(host: Host) -> list[dict[str, str]]:
    made: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup")]
    if host.uid_map:
        made.append({"type": "user", **({"path": host.user_namespace} if host.user_namespace else {})})
    if host.network != "host":
        made.append({"type": "network", **({"path": host.network} if host.network else {})})
    return made


def _resources(request: Request, host: Host) -> dict[str, Any]:
    limits = request.limits
    made: dict[str, Any] = {}
    if not host.rootless:
        made["devices"] = [{"allow": request.privileged, "access": "rwm"}]
    memory = _memory(limits)
    if memory:
        made["memory"] = memory
    cpu = {
        "shares": limits.cpu_shares,
        "quota": limits.cpu_quota,
        "period": limits.cpu_period,
        "cpus": limits.cpuset_cpus or None,
    }
    if any(value is not None for value in cpu.values()):
        made["cpu"] = {name: value for name, value in cpu.items() if value is not None}
    if limits.pids is not None:
        made["pids"] = {"limit": limits.pids}
    if memory and host.v2:
        # The OOM killer kills the whole box instead of one of its processes (cgroup-v2.rst).
        made["unified"] = {"memory.oom.group": "1"}
    return made


def _memory(limits: Limits) -> dict[str, int]:
    made: dict[str, int] = {}
    if limits.memory is not None:
        made["limit"] = limits.memory
        # Without --memory-swap the box does not swap, so --memory is the total.
        made["swap"] = limits.memory if limits.memory_swap is None else limits.memory_swap
        if made["swap"] != -1 and made["swap"] < limits.memory:
            raise Error("--memory-swap is the sum of memory and swap, so it must be at least --memory", status=2)
    elif limits.memory_swap is not None:
        raise Error("--memory-swap needs --memory", status=2)
    if limits.memory_reservation is not None:
        made["reservation"] = limits.memory_reservation
    return made

"""checkpoint: derive criu's options from the flags, the plan of create and a few facts; and what restore shares.

Pure, and cold. The names of the options come from criu's images/rpc.proto (criu/messages.py). What belongs to the host
must be declared to criu as external, under the same key at the dump and at the restore (criu(8), --external): bind
mounts by mount point, masked files as /dev/null, joined namespaces by the names that runc uses. So checkpoints made by
runc or crun can be restored here, and vice versa.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ocipy.errors import Error
from ocipy.linux.constants import CLONE_NEWNET
from ocipy.linux.paths import clean
from ocipy.plan.cgroup_mount import MountCgroup1
from ocipy.plan.devices import Device
from ocipy.plan.fields import Namespaces
from ocipy.plan.mounts import Bind, OpenMountSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.config.types import Config
    from ocipy.plan.model import Plan

LOG_LEVEL = 4  # debug, as in runc: criu's log is the only record
DUMP_LOG, RESTORE_LOG = "dump.log", "restore.log"

# enum criu_cg_mode; "" leaves the choice to criu, whose default is soft.
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5, "": 6}
# enum criu_network_lock_method
NETWORK_LOCKS = {"iptables": 1, "nftables": 2, "skip": 3}
# The namespaces that criu takes as external (dump) and receives as descriptors (restore), with the key of each.
EXTERNAL_NAMESPACES = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}

# criu's versions, as 10000 * major + 100 * minor + sublevel, and what they introduced.
OLDEST = 30000  # the request for the version itself
EXTERNAL_VERSIONS = {"network": 31100, "pid": 31500}
NETWORK_LOCK_VERSIONS = {"iptables": OLDEST, "nftables": 31700, "skip": 31900}
FREEZER_V2 = 31400
STATUS_READY = 31500
NO_NEW_PRIVS = 31900


@dataclass(frozen=True)
class CriuFlags:
    """The flags of both commands, as in runc; those of the other command keep their defaults.

    image_path: directory of the images, absolute. work_path: of the log, "" for the same. parent_path: of an earlier
    pre-dump, relative to image_path. status_fd: -1 if not given. page_server: (address, port), None if not given.
    config_file: criu's own configuration file, "" if there is none.
    """

    image_path: str
    work_path: str = ""
    parent_path: str = ""
    leave_running: bool = False
    tcp_established: bool = False
    tcp_skip_in_flight: bool = False
    tcp_close: bool = False
    link_remap: bool = False
    ext_unix_sk: bool = False
    shell_job: bool = False
    file_locks: bool = False
    lazy_pages: bool = False
    pre_dump: bool = False
    auto_dedup: bool = False
    status_fd: int = -1
    page_server: tuple[str, int] | None = None
    manage_cgroups_mode: str = ""
    network_lock: str = ""
    empty_ns: tuple[str, ...] = ()
    lsm_profile: str = ""
    lsm_mount_context: str = ""
    config_file: str = ""


@dataclass
class DumpFacts:
    """Facts found for a dump.

    version: criu's. pid: of the init process. root: the root filesystem on the host. freezer: its cgroup with a
    freezer, "" if there is none. unified: whether that is on v2. inodes: of the joined namespaces, by kind.
    mount_points: the actual place in the container of each mount's destination. masked_files: existing masked paths
    that are not directories, as seen in the container. hierarchies: names of the directories in a cgroup v1 mount.
    """

    version: int
    pid: int
    root: str
    freezer: str = ""
    unified: bool = True
    inodes: dict[str, int] = field(default_factory=dict)
    mount_points: dict[str, str] = field(default_factory=dict)
    masked_files: tuple[str, ...] = ()
    hierarchies: tuple[str, ...] = ()


def parse_page_server(text: str) -> tuple[str, int] | None:
    """Parse --page-server ADDRESS:PORT; an IPv6 address is in brackets. Raises Error."""
    if not text:
        return None
    address, colon, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not (address and colon and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise Error(f"--page-server must be ADDRESS:PORT, not {text!r}")
    return address, int(port)


def check_flags(flags: CriuFlags) -> None:
    """Raise Error for an invalid value."""
    if flags.manage_cgroups_mode not in CGROUP_MODES:
        raise Error(f"--manage-cgroups-mode must be soft, full, strict or ignore, not {flags.manage_cgroups_mode!r}")
    if flags.network_lock and flags.network_lock not in NETWORK_LOCKS:
        raise Error(f"--network-lock must be iptables, nftables or skip, not {flags.network_lock!r}")
    for kind in flags.empty_ns:
        if kind != "network":
            raise Error(f"--empty-ns: namespace {kind!r} is not supported", hint="criu only supports network")
    if flags.parent_path.startswith("/"):
        raise Error("--parent-path must be relative", hint="it is relative to --image-path")


def refuse(config: Config, plan: Plan) -> None:
    """Raise Error for what criu would restore differently. plan: create's."""
    if "mount" not in Namespaces(config).all:
        raise Error(
            "a container without a mount namespace cannot be checkpointed",
            pointer="/linux/namespaces",
            hint='add {"type": "mount"}: otherwise its mounts are the host\'s',
        )
    for step in plan.host:
        if isinstance(step, OpenMountSource) and step.idmap:
            raise Error(
                "a mount with mapped ids cannot be checkpointed", pointer=step.pointer, hint="criu does not support it"
            )
    for index, mount in enumerate(config.get("mounts") or ()):
        if clean(mount["destination"]) == "/":
            raise Error(
                "a container with a mount on its root cannot be checkpointed",
                pointer=f"/mounts/{index}",
                hint="criu would restore the root filesystem below it: make the mount beforehand, as root.path",
            )


def config_file(config: Config, exists: Sequence[str]) -> str:
    """Return criu's configuration file: from the annotation org.criu.config ("" means none), or the first of exists."""
    named = (config.get("annotations") or {}).get("org.criu.config")
    if named is not None:
        return named
    return exists[0] if exists else ""


def log_file(configuration: str) -> str:
    """Return the log that criu's configuration file names, or "": it overrides the request (criu.org, RPC).

    Parsed as criu does: an option without its dashes, blanks, and a value, which may be quoted; # begins a comment. If
    an option occurs twice, the last one counts.
    """
    found = ""
    for line in configuration.split("\n"):
        option, _, value = line.replace("\t", " ").strip(" ").partition(" ")
        value = value.strip(" ")
        if option == "log-file" and value:
            quoted = value[0] == '"' and value.find('"', 1) > 0
            found = value[1 : value.index('"', 1)] if quoted else value.partition("#")[0].split(" ")[0] or found
    return found


def bound_steps(plan: Plan) -> list[Bind | Device]:
    """Return the steps of create that bind something from the host."""
    return [step for step in plan.init if isinstance(step, Bind) or (isinstance(step, Device) and step.bind)]


def cgroup1_mounts(plan: Plan) -> list[str]:
    """Return the destinations of cgroup mounts that hold bind mounts of the container's own cgroups (v1)."""
    return [step.destination for step in plan.init if isinstance(step, MountCgroup1) and not step.namespace]


def destinations(plan: Plan, hierarchies: Sequence[str]) -> list[str]:
    """Return where something of the host's is mounted, as in the config. hierarchies: as in DumpFacts."""
    points = [bound_at(step) for step in bound_steps(plan)]
    return points + [f"{top}/{name}" for top in cgroup1_mounts(plan) for name in hierarchies]


def bound_at(step: Bind | Device) -> str:
    """Return where the step mounts."""
    return step.destination if isinstance(step, Bind) else step.path


def bound_from(step: Bind | Device) -> str:
    """Return the path on the host that the step binds."""
    return step.source if isinstance(step, Bind) else step.path


def dump_options(config: Config, plan: Plan, flags: CriuFlags, facts: DumpFacts) -> dict[str, Any]:
    """Return the options of a DUMP or PRE_DUMP request, except the directories' descriptors. Raises Error."""
    options = common_options(flags, DUMP_LOG)
    options |= {
        "pid": facts.pid,
        "root": facts.root,
        "leave_running": flags.leave_running,
        "tcp_skip_in_flight": flags.tcp_skip_in_flight,
        "link_remap": flags.link_remap,
    }
    if facts.freezer and (not facts.unified or facts.version >= FREEZER_V2):
        options["freeze_cgroup"] = facts.freezer
    if flags.page_server is not None:
        options["ps"] = {"address": flags.page_server[0], "port": flags.page_server[1]}
    if flags.parent_path:
        options |= {"parent_img": flags.parent_path, "track_mem": True}
    if flags.network_lock:
        options["network_lock"] = _network_lock(flags.network_lock, facts.version)
    if flags.lazy_pages and flags.status_fd >= 0 and facts.version < STATUS_READY:
        options["status_fd"] = flags.status_fd  # called "status-ready" in later versions
    external = [
        f"{name}[{facts.inodes[kind]}]:{key}"
        for kind, (name, key) in external_namespaces(joined_of(config), facts.version)
    ]
    if not flags.pre_dump:
        external += _dump_mounts(plan, facts)
    if external:
        options["external"] = external
    return options


def _network_lock(method: str, version: int) -> int:
    """Raises Error if this criu is too old: it would replace a number that it does not know with its default."""
    if version < NETWORK_LOCK_VERSIONS[method]:
        needed = describe_version(NETWORK_LOCK_VERSIONS[method])
        raise Error(
            f"criu {describe_version(version)} does not support --network-lock {method}", hint=f"{needed} or later does"
        )
    return NETWORK_LOCKS[method]


def _dump_mounts(plan: Plan, facts: DumpFacts) -> list[str]:
    points = [facts.mount_points.get(point, point) for point in destinations(plan, facts.hierarchies)]
    return [f"mnt[{point}]:{point}" for point in points] + [f"mnt[{path}]:/dev/null" for path in facts.masked_files]


def common_options(flags: CriuFlags, log_file: str) -> dict[str, Any]:
    """Return the options that a dump and a restore share."""
    options: dict[str, Any] = {
        "log_level": LOG_LEVEL,
        "log_file": log_file,
        "notify_scripts": True,
        "manage_cgroups": True,  # for criu before 1.8; the mode counts
        "manage_cgroups_mode": CGROUP_MODES[flags.manage_cgroups_mode],
        "orphan_pts_master": True,
        # Network devices are not ours to save: engines make them again, before or in the hooks.
        "empty_ns": CLONE_NEWNET,
        "shell_job": flags.shell_job,
        "ext_unix_sk": flags.ext_unix_sk,
        "tcp_established": flags.tcp_established,
        "file_locks": flags.file_locks,
        "auto_dedup": flags.auto_dedup,
        "lazy_pages": flags.lazy_pages,
    }
    if flags.tcp_close:
        options["tcp_close"] = True
    if flags.config_file:
        options["config_file"] = flags.config_file
    return options


def external_kinds(config: Config) -> dict[str, str]:
    """Return the paths of the joined namespaces that criu must treat as external, by kind."""
    return {kind: path for kind, path, _ in joined_of(config) if kind in EXTERNAL_NAMESPACES}


def joined_of(config: Config) -> tuple[tuple[str, str, str], ...]:
    """Return (kind, path, pointer) of each joined namespace."""
    return tuple((kind, path, pointer) for kind, (path, pointer) in Namespaces(config).joined.items())


def external_namespaces(joined: Sequence[tuple[str, str, str]], version: int) -> list[tuple[str, tuple[str, str]]]:
    """Return (kind, (criu's name, key)) of each. joined: as in RestoreRequest. Raises Error if this criu is too old."""
    kinds = []
    for kind, _, pointer in joined:
        if kind not in EXTERNAL_NAMESPACES:
            continue
        if version < EXTERNAL_VERSIONS[kind]:
            raise Error(
                f"criu {describe_version(version)} does not support external {kind} namespaces",
                pointer=pointer,
                hint=f"this needs criu {describe_version(EXTERNAL_VERSIONS[kind])} or later",
            )
        kinds.append((kind, EXTERNAL_NAMESPACES[kind]))
    return kinds


def describe_version(version: int) -> str:
    """Format a version: 31701 is "3.17.1"."""
    text = f"{version // 10000}.{version // 100 % 100}"
    return f"{text}.{version % 100}" if version % 100 else text

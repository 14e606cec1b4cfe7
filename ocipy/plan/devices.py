"""linux.devices, and the devices in every container's /dev (config-linux.md, "Default Devices", runtime-linux.md)."""

from __future__ import annotations

from ocipy.cgroups.devices import DEFAULT_NODES
from ocipy.linux.constants import CAP_MKNOD
from ocipy.linux.paths import clean
from ocipy.plan.model import HostStep, InitStep, Step, counted, if_set, phrase
from ocipy.plan.mounts import dev_is_bound, opened_by_host, plan_label
from ocipy.plan.namespaces import triples
from ocipy.remembered import Remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.config import types
    from ocipy.config.types import IDMapping
    from ocipy.plan.model import Planner


POINTER = "/linux/devices"
KINDS = {"b": "b", "c": "c", "u": "c", "p": "p"}
DEFAULT_MODE = 0o666
MODE_BITS = 0o7777  # podman gives st_mode, including the file type


class DeviceFilesystem(HostStep):
    """Make a tmpfs for nodes on the host. label: SELinux's option. joined: with the ids of the joined namespace."""

    nodes: int
    label: str
    joined: bool

    def describe(self) -> str:
        words = "a tmpfs for " + counted(self.nodes, "node")
        return words + if_set(self.joined, ", with the ids of the joined user namespace")


class NodeStep(Step):
    """What all steps for one node have in common. path: in the container."""

    path: str
    kind: str
    major: int
    minor: int

    def describe_node(self, *more: str) -> str:
        """Return the words of these members, then more."""
        number = "" if self.kind == "p" else f"{self.major}:{self.minor}"
        return phrase(self.path, self.kind, number, *more)


class NewNode(NodeStep):
    """What the steps that make one add. name: among the nodes that the host makes, or "". uid, gid: of its owner."""

    name: str
    mode: int
    uid: int
    gid: int

    def describe(self) -> str:
        return self.describe_node(f"{self.mode:04o} {self.uid}:{self.gid}")


class DeviceNode(NewNode, HostStep):
    """Make a node in that filesystem. uid, gid: on the host."""


class DeviceMounts(HostStep):
    """Open a detached mount of each node, for init."""

    names: tuple[str, ...]
    words = "a detached mount of each node"


class Device(NewNode, InitStep):
    """Make a node, or bind one.

    bind: the host's node, since init may not make one; if name is not "", the one that the host has made (DeviceNode).
    asked: the config gives a mode or an owner, so an existing node that has a different one causes a warning.
    """

    bind: bool
    asked: bool

    def describe(self) -> str:
        if self.bind:
            return self.describe_node("bound from the host, which made it" if self.name else "bound from the host")
        return super().describe()


class ExistingDevice(NodeStep, InitStep):
    """Check a device that must already exist, in the host's /dev."""

    def describe(self) -> str:
        return self.describe_node("must exist already")


class DeviceLinks(InitStep):
    """The symbolic links of runtime-linux.md, and /dev/ptmx."""

    words = "/dev/fd stdin stdout stderr core ptmx"


def plan_nodes(planner: Planner) -> None:
    """Make the nodes on the host that the container's user namespace may not make; init binds them."""
    config, host = planner.config, planner.host
    if not _made_by_host(planner):
        return
    nodes = [step for step in _device_steps(planner) if step.name]
    if not nodes:
        return
    linux = config.get("linux") or {}
    uids, gids = linux.get("uidMappings") or (), linux.get("gidMappings") or ()
    joined = "user" in planner.namespaces.joined
    label = plan_label(config, host)
    planner.on_host(DeviceFilesystem(POINTER, nodes=len(nodes), label=label, joined=joined))
    for node in nodes:
        pointer = node.pointer
        planner.on_host(
            DeviceNode(
                pointer,
                name=node.name,
                path=node.path,
                kind=node.kind,
                major=node.major,
                minor=node.minor,
                mode=node.mode,
                uid=node.uid if joined else _on_host(planner, node.uid, uids, pointer + "/uid", node.path),
                gid=node.gid if joined else _on_host(planner, node.gid, gids, pointer + "/gid", node.path),
            )
        )
    planner.on_host(DeviceMounts(POINTER, names=tuple(node.name for node in nodes)))


def _on_host(planner: Planner, number: int, mappings: Sequence[IDMapping], pointer: str, path: str) -> int:
    """Return the id on the host; if the namespace does not map it, 0, which nobody inside has."""
    for inside, outside, size in triples(mappings):
        if inside <= number < inside + size:
            return outside + number - inside
    planner.warn(pointer, f"the user namespace does not map id {number}, the owner of {path}: it will belong to nobody")
    return 0


def plan_devices(planner: Planner) -> None:
    """Make the default nodes, then those of the config, which may replace them, then the links."""
    planner.plan.init += _device_steps(planner)
    if dev_is_bound(planner):
        _plan_existing(planner)
    else:
        planner.in_init(DeviceLinks(POINTER))


def _made_by_host(planner: Planner) -> bool:
    """Whether the runtime may make the nodes that init may not: mknod(2)."""
    host = planner.host
    return opened_by_host(planner) and not host.in_user_namespace and bool(host.capabilities >> CAP_MKNOD & 1)


def _device_steps(planner: Planner) -> list[Device]:
    """Return init's step for each node: the default ones, then those of the config, which may replace them."""
    # mknod(2) of a device requires the initial user namespace.
    bind = "user" in planner.namespaces.all or planner.host.in_user_namespace
    by_host = _made_by_host(planner)
    devices = (planner.config.get("linux") or {}).get("devices") or ()
    bound = dev_is_bound(planner)
    steps = [] if bound else list(_DEFAULTS[bind, by_host])
    if devices:
        replaced = {clean(device["path"]) for device in devices}
        steps = [step for step in steps if step.path not in replaced]
    for index, device in enumerate(devices):
        path = clean(device["path"])
        # /dev/ptmx is always the link to the container's own devpts.
        if path != "/dev/ptmx" and not (bound and path.startswith("/dev/")):
            steps.append(_device(f"{POINTER}/{index}", str(index) if by_host else "", device, bind))
    return steps


def _device(pointer: str, name: str, device: types.Device, bind: bool) -> Device:
    """Return the step for an entry of the config. name, bind: if it is not a FIFO, which init may always make."""
    kind, (major, minor) = _identify(device)
    fifo = kind == "p"
    mode, uid, gid = device.get("fileMode"), device.get("uid") or 0, device.get("gid") or 0
    return Device(
        pointer,
        bind=bind and not fifo,
        name="" if fifo else name,
        path=clean(device["path"]),
        kind=kind,
        major=major,
        minor=minor,
        mode=DEFAULT_MODE if mode is None else mode & MODE_BITS,
        uid=uid,
        gid=gid,
        asked=mode is not None or bool(uid or gid),
    )


def _defaults(made: tuple[bool, bool]) -> tuple[Device, ...]:
    """Return the steps for the default nodes. made: whether init binds them, and whether those that the host makes."""
    bind, by_host = made
    return tuple(
        _device(
            POINTER,
            path.rpartition("/")[2] if by_host else "",
            {"path": path, "type": "c", "major": major, "minor": minor},
            bind,
        )
        for path, (major, minor) in DEFAULT_NODES.items()
    )


_DEFAULTS = Remembered(_defaults)


def _plan_existing(planner: Planner) -> None:
    """Check the config's devices if /dev is the host's."""
    for index, device in enumerate((planner.config.get("linux") or {}).get("devices") or ()):
        kind, (major, minor) = _identify(device)
        path = clean(device["path"])
        if path.startswith("/dev/") and path != "/dev/ptmx":
            planner.in_init(ExistingDevice(f"{POINTER}/{index}", path=path, kind=kind, major=major, minor=minor))


def _identify(device: types.Device) -> tuple[str, tuple[int, int]]:
    """Return ("b", "c" or "p", (major, minor))."""
    assert clean(device["path"]) != "/"
    kind = KINDS[device["type"]]
    return kind, (0, 0) if kind == "p" else (device["major"], device["minor"])

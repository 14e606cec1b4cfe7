"""linux.devices, and the devices in every container's /dev (config-linux.md, "Default Devices", runtime-linux.md)."""

from __future__ import annotations

from ocipy.cgroups.devices import DEFAULT_NODES
from ocipy.cgroups.paths import clean
from ocipy.linux.constants import CAP_MKNOD
from ocipy.plan.mounts import dev_is_bound, opened_by_host, plan_label
from ocipy.plan.namespaces import has_namespace, joined_kinds, triples

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ocipy.config.types import Config, Device, IDMapping
    from ocipy.plan.model import Host, Options, Plan

POINTER = "/linux/devices"
KINDS = {"b": "b", "c": "c", "u": "c", "p": "p"}
DEFAULT_MODE = 0o666
MODE_BITS = 0o7777  # podman gives st_mode, including the file type


def plan_nodes(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make the nodes on the host that the container's user namespace may not make; init binds them."""
    if not _made_by_host(config, host):
        return
    nodes = [node for node in _nodes(config) if node["kind"] != "p"]
    if not nodes:
        return
    linux = config.get("linux") or {}
    joined = "user" in joined_kinds(config)
    label = plan_label(config, host)
    plan.on_host("device_filesystem", POINTER, nodes=len(nodes), label=label, joined=joined)
    for node in nodes:
        pointer: str = node.pop("pointer")
        del node["asked"]
        if not joined:
            for member, mappings in (("uid", linux.get("uidMappings")), ("gid", linux.get("gidMappings"))):
                node[member] = _on_host(plan, node[member], mappings or (), f"{pointer}/{member}", node["path"])
        plan.on_host("device_node", pointer, **node)
    plan.on_host("device_mounts", POINTER, names=tuple(node["name"] for node in nodes))


def _on_host(plan: Plan, number: int, mappings: Sequence[IDMapping], pointer: str, path: str) -> int:
    """Return the id on the host; if the namespace does not map it, 0, which nobody inside has."""
    for inside, outside, size in triples(mappings):
        if inside <= number < inside + size:
            return outside + number - inside
    plan.warn(pointer, f"the user namespace does not map id {number}, the owner of {path}: it will be nobody's")
    return 0


def plan_devices(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make the default nodes, then those of the config, which may replace them, then the links."""
    bound = dev_is_bound(config)
    # mknod(2) of a device requires the initial user namespace.
    bind = has_namespace(config, "user") or host.in_user_namespace
    by_host = _made_by_host(config, host)
    for node in _nodes(config):
        fifo = node["kind"] == "p"
        if not by_host or fifo:
            node["name"] = ""
        plan.in_init("device", node.pop("pointer"), bind=bind and not fifo, **node)
    for pointer, node in _existing(config) if bound else ():
        plan.in_init("existing_device", pointer, **node)
    if not bound:
        plan.in_init("device_links", POINTER)


def _made_by_host(config: Config, host: Host) -> bool:
    """Whether the runtime may make the nodes that init may not: mknod(2)."""
    return opened_by_host(config, host) and not host.in_user_namespace and bool(host.capabilities >> CAP_MKNOD & 1)


def _nodes(config: Config) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each node to make, with its pointer."""
    devices = (config.get("linux") or {}).get("devices") or ()
    bound = dev_is_bound(config)
    replaced = {clean(device["path"]) for device in devices}
    for path, number in DEFAULT_NODES.items() if not bound else ():
        if path not in replaced:
            yield _node(POINTER, path.rpartition("/")[2], path, "c", number, DEFAULT_MODE, (0, 0), asked=False)
    for index, device in enumerate(devices):
        pointer = f"{POINTER}/{index}"
        kind, number = _identify(device)
        path = clean(device["path"])
        # /dev/ptmx is always the link to the container's own devpts.
        if path != "/dev/ptmx" and not (bound and path.startswith("/dev/")):
            given, owner = device.get("fileMode"), (device.get("uid") or 0, device.get("gid") or 0)
            mode = DEFAULT_MODE if given is None else given & MODE_BITS
            asked = given is not None or any(owner)
            yield _node(pointer, str(index), path, kind, number, mode, owner, asked=asked)


def _node(
    pointer: str,
    name: str,
    path: str,
    kind: str,
    number: tuple[int, int],
    mode: int,
    owner: tuple[int, int],
    *,
    asked: bool,
) -> dict[str, Any]:
    """asked: the config gives a mode or an owner, so an existing node with others causes a warning."""
    return {
        "pointer": pointer,
        "name": name,
        "path": path,
        "kind": kind,
        "major": number[0],
        "minor": number[1],
        "mode": mode,
        "uid": owner[0],
        "gid": owner[1],
        "asked": asked,
    }


def _existing(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (pointer, arguments) of the config's devices that must already exist in a /dev of the host's."""
    for index, device in enumerate((config.get("linux") or {}).get("devices") or ()):
        pointer = f"{POINTER}/{index}"
        kind, number = _identify(device)
        path = clean(device["path"])
        if path.startswith("/dev/") and path != "/dev/ptmx":
            yield pointer, {"path": path, "kind": kind, "major": number[0], "minor": number[1]}


def _identify(device: Device) -> tuple[str, tuple[int, int]]:
    """Return ("b", "c" or "p", (major, minor))."""
    assert clean(device["path"]) != "/"
    kind = KINDS[device["type"]]
    return kind, (0, 0) if kind == "p" else (device["major"], device["minor"])

"""linux.devices, and what every container has in /dev (config-linux.md, "Default Devices", runtime-linux.md)."""

from __future__ import annotations

from ocipy.cgroups.devices import DEFAULT_NODES
from ocipy.cgroups.paths import clean
from ocipy.errors import Error
from ocipy.plan.fields import check_text
from ocipy.plan.mounts import dev_is_bound
from ocipy.plan.namespaces import has_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Device
    from ocipy.plan.model import Host, Options, Plan

KINDS = {"b": "b", "c": "c", "u": "c", "p": "p"}
DEFAULT_MODE = 0o666
MODE_BITS = 0o7777  # podman gives st_mode, with the bits of the file's type
UID_MAX = 0xFFFFFFFE
MAJOR_MAX, MINOR_MAX = 0xFFF, 0xFFFFF


def plan_devices(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """The default nodes, then those of the config, which may replace them, then the links."""
    devices = (config.get("linux") or {}).get("devices") or ()
    bound = dev_is_bound(config)
    # mknod(2) of a device needs the initial user namespace.
    bind = has_namespace(config, "user") or host.in_user_namespace
    replaced = {clean(device["path"]) for device in devices}
    if not bound:
        for path, number in DEFAULT_NODES.items():
            if path not in replaced:
                _node(plan, "", path, "c", number, DEFAULT_MODE, (0, 0), bind)
    for index, device in enumerate(devices):
        pointer = f"/linux/devices/{index}"
        kind, number = _identify(device, pointer)
        path = clean(device["path"])
        if path == "/dev/ptmx":
            continue  # always the link to the container's own
        if bound and path.startswith("/dev/"):
            plan.in_init("existing_device", pointer, path=path, kind=kind, major=number[0], minor=number[1])
            continue
        mode = device.get("fileMode")
        owner = _owner(device, pointer)
        _node(plan, pointer, path, kind, number, DEFAULT_MODE if mode is None else mode & MODE_BITS, owner, bind)
    if not bound:
        plan.in_init("device_links", "")


def _node(
    plan: Plan,
    pointer: str,
    path: str,
    kind: str,
    number: tuple[int, int],
    mode: int,
    owner: tuple[int, int],
    bind: bool,
) -> None:
    plan.in_init(
        "device",
        pointer,
        path=path,
        kind=kind,
        major=number[0],
        minor=number[1],
        mode=mode,
        uid=owner[0],
        gid=owner[1],
        bind=bind and kind != "p",
    )


def _identify(device: Device, pointer: str) -> tuple[str, tuple[int, int]]:
    """("b", "c" or "p", (major, minor)), checked."""
    if not device["path"].startswith("/") or clean(device["path"]) == "/":
        raise Error(f"{device['path']!r} is not the full path of a device", pointer=pointer + "/path")
    check_text(device["path"], pointer + "/path")
    kind = KINDS.get(device["type"], "")
    if not kind:
        raise Error(f"{device['type']!r} is no type of device", pointer=pointer + "/type", hint="one of c, b, u, p")
    if kind == "p":
        return kind, (0, 0)
    major, minor = device.get("major"), device.get("minor")
    for member, value, most in (("major", major, MAJOR_MAX), ("minor", minor, MINOR_MAX)):
        if value is None:
            raise Error(f"a device of type {device['type']} needs a {member} number", pointer=pointer)
        if not 0 <= value <= most:
            raise Error(f"{value} is not within 0 and {most}", pointer=f"{pointer}/{member}")
    return kind, (major or 0, minor or 0)


def _owner(device: Device, pointer: str) -> tuple[int, int]:
    uid, gid = device.get("uid") or 0, device.get("gid") or 0
    for member, value in (("uid", uid), ("gid", gid)):
        if not 0 <= value <= UID_MAX:
            raise Error(f"{value} is no id", pointer=f"{pointer}/{member}")
    return uid, gid

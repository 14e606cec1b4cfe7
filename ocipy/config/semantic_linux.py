"""The rules of the `linux` section except its resources (config-linux.md). Hot and pure; see semantic.py."""

from __future__ import annotations

import posix

from ocipy.config.semantic_resources import list_of_numbers
from ocipy.errors import escape
from ocipy.linux.constants import NO_ID
from ocipy.linux.paths import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import (
        Config,
        IDMapping,
        IntelRdt,
        Linux,
        MemoryPolicy,
        Seccomp,
    )

    Findings = list[tuple[str, str]]

_IPC_SYSCTLS = frozenset(
    "kernel/" + name
    for name in (
        "auto_msgmni",
        "msg_next_id",
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "sem_next_id",
        "shm_next_id",
        "shm_rmid_forced",
        "shmall",
        "shmmax",
        "shmmni",
    )
)
"""ipc_namespaces(7), and ipc/ipc_sysctl.c of the kernel; in addition to fs/mqueue."""

RESCTRL_OWN = ("info", "mon_groups", "mon_data")
"""The kernel's own directories at the top of a resctrl filesystem, next to the classes of service."""

HOSTNAME = "kernel/hostname"
DOMAINNAME = "kernel/domainname"

_MAX_ID_MAP_LINES = 340
"""user_namespaces(7)."""
_LONGEST_LINE = 33
"""Of a line of an id map: three numbers of ten digits, with separators."""

_MAX_ERRNO = 4095


def namespaces(config: Config) -> dict[str, str]:
    """Type → path of the container's namespaces; "" for a new one. If a type is given twice, the first counts."""
    spaces: dict[str, str] = {}
    linux = config.get("linux")
    if linux is not None:
        for entry in linux.get("namespaces") or ():
            spaces.setdefault(entry["type"], entry.get("path") or "")
    return spaces


def errors(linux: Linux, spaces: dict[str, str], found: Findings) -> None:
    """Append every broken rule to found as (JSON pointer, text). spaces: from namespaces()."""
    _namespaces(linux, spaces, found)
    _id_maps(linux, spaces, found)
    _time_offsets(linux, spaces, found)
    _devices(linux, found)
    _net_devices(linux, spaces, found)
    for name in linux.get("sysctl") or ():
        text = _sysctl(name, spaces)
        if text:
            found.append(("/linux/sysctl" + escape(name), text))
    seccomp = linux.get("seccomp")
    if seccomp is not None:
        _seccomp(seccomp, found)
    cgroup = linux.get("cgroupsPath") or ""
    if cgroup.startswith("/") and clean(cgroup) == "/":
        found.append(("/linux/cgroupsPath", "the top of the hierarchy cannot be a container's cgroup"))
    _hidden_paths("maskedPaths", linux.get("maskedPaths"), spaces, found)
    _hidden_paths("readonlyPaths", linux.get("readonlyPaths"), spaces, found)
    if linux.get("rootfsPropagation") and "mount" not in spaces:
        found.append(("/linux/rootfsPropagation", "needs a mount namespace in linux.namespaces"))
    personality = linux.get("personality")
    if personality is not None and personality.get("flags"):
        found.append(("/linux/personality/flags", "no flags are supported"))
    policy = linux.get("memoryPolicy")
    if policy is not None:
        _memory_policy(policy, found)
    rdt = linux.get("intelRdt")
    if rdt is not None:
        _intel_rdt(rdt, found)


def _namespaces(linux: Linux, spaces: dict[str, str], found: Findings) -> None:
    entries = linux.get("namespaces") or ()
    if len(spaces) == len(entries) and not any(spaces.values()):
        return  # all are different, and new
    seen = []
    for index, entry in enumerate(entries):
        if entry["type"] in seen:
            found.append((f"/linux/namespaces/{index}/type", f"the {entry['type']} namespace is given twice"))
        seen.append(entry["type"])
        path = entry.get("path")
        if path and path[0] != "/":
            found.append((f"/linux/namespaces/{index}/path", f"must be an absolute path, not {path!r}"))


def _id_maps(linux: Linux, spaces: dict[str, str], found: Findings) -> None:
    if "user" not in spaces:  # plan/namespaces.py warns that mappings have no effect
        return
    uids, gids = linux.get("uidMappings") or [], linux.get("gidMappings") or []
    if are_paired(uids, gids, "/linux", found) and not uids and not spaces["user"]:
        found.append(("/linux/uidMappings", "a new user namespace needs uidMappings and gidMappings"))
    id_map(uids, "/linux/uidMappings", found)
    id_map(gids, "/linux/gidMappings", found)


def are_paired(uids: object, gids: object, pointer: str, found: Findings) -> bool:
    """Whether uidMappings and gidMappings are both given, or neither. pointer: of the object that contains them."""
    if bool(uids) == bool(gids):
        return True
    missing, given = ("gidMappings", "uidMappings") if uids else ("uidMappings", "gidMappings")
    found.append((f"{pointer}/{given}", f"must be given together with {missing}"))
    return False


def id_map(lines: list[IDMapping], pointer: str, found: Findings) -> None:
    """user_namespaces(7), uid_map: tells apart the cases that the kernel answers with a bare EINVAL."""
    if len(lines) > _MAX_ID_MAP_LINES:
        found.append((pointer, f"has more than {_MAX_ID_MAP_LINES} entries"))
        return
    # Most are too short to exceed a page, whatever they contain.
    if len(lines) * _LONGEST_LINE >= 4096 and len(id_map_text(lines)) >= posix.sysconf("SC_PAGE_SIZE"):
        found.append((pointer, "has more entries than fit in one page of text, which is all that the kernel accepts"))
    for index, line in enumerate(lines):
        if line["size"] == 0:
            found.append((f"{pointer}/{index}/size", "must not be 0"))
    for member in ("containerID", "hostID"):
        ranges = sorted((line[member], line["size"], index) for index, line in enumerate(lines))
        free = 0
        for first, size, index in ranges:
            if first < free:
                found.append((f"{pointer}/{index}/{member}", "overlaps with another entry"))
            free = first + size
            if free > NO_ID:
                found.append((f"{pointer}/{index}/size", "reaches beyond the last id, 4294967294"))


def id_map_text(lines: list[IDMapping]) -> str:
    """The text written to the kernel's file."""
    return "".join(f"{line['containerID']} {line['hostID']} {line['size']}\n" for line in lines)


def _time_offsets(linux: Linux, spaces: dict[str, str], found: Findings) -> None:
    """time_namespaces(7): offsets can be set until the first process is in the namespace."""
    offsets = linux.get("timeOffsets") or {}
    if not offsets:
        return
    if spaces.get("time") != "":
        found.append(("/linux/timeOffsets", "needs a new time namespace in linux.namespaces"))
    for clock, offset in offsets.items():
        pointer = "/linux/timeOffsets" + escape(clock)
        if clock not in ("monotonic", "boottime"):
            found.append((pointer, "only the clocks monotonic and boottime can be shifted"))
        elif offset is not None and (offset.get("nanosecs") or 0) > 999_999_999:
            found.append((pointer + "/nanosecs", "must be less than 1000000000"))


def _devices(linux: Linux, found: Findings) -> None:
    for index, device in enumerate(linux.get("devices") or ()):
        pointer = f"/linux/devices/{index}"
        if device["path"][:1] != "/":
            found.append((pointer + "/path", f"must be an absolute path, not {device['path']!r}"))
        elif clean(device["path"]) == "/":
            found.append((pointer + "/path", "is the container's root itself"))
        for member, most in (("major", 0xFFF), ("minor", 0xFFFFF)):  # 12 and 20 bits: MKDEV of the kernel
            number = device.get(member)
            if number is None:
                if device["type"] != "p":
                    found.append((pointer, f"the member {member} is required for the type {device['type']}"))
            elif not isinstance(number, int) or not 0 <= number <= most:
                found.append((f"{pointer}/{member}", f"must be from 0 to {most}, not {number}"))
        for member in ("uid", "gid"):
            if device.get(member) == NO_ID:
                found.append((f"{pointer}/{member}", "4294967295 is not an id"))


def _net_devices(linux: Linux, spaces: dict[str, str], found: Findings) -> None:
    devices = linux.get("netDevices")
    if not devices:
        return
    if "network" not in spaces:
        found.append(("/linux/netDevices", "needs a network namespace in linux.namespaces"))
    seen = []
    for name, device in devices.items():
        pointer = "/linux/netDevices" + escape(name)
        if not _interface_name(name) or "%" in name:
            found.append((pointer, f"{name!r} is not the name of a network device"))
        new = (device.get("name") if device else None) or name
        if new != name and (not _interface_name(new) or new.count("%") > new.count("%d") or new.count("%") > 1):
            found.append((pointer + "/name", f"{new!r} is not the name of a network device"))
        if new in seen and "%d" not in new:
            found.append((pointer, f"two devices would be named {new!r}"))
        seen.append(new)


def _interface_name(name: str) -> bool:
    """dev_valid_name of the kernel."""
    if not 0 < len(name.encode("utf-8", "surrogatepass")) <= 15 or name in (".", ".."):
        return False
    return not any(mark in name for mark in "/: \t\n\v\f\r")


def _sysctl(name: str, spaces: dict[str, str]) -> str:
    """Why a sysctl is refused, or "". Outside the container's own namespaces it would change the host."""
    path = sysctl_path(name)
    if not path:
        return "is not the name of a sysctl"
    if path == HOSTNAME:
        return "is set by the field hostname"
    kind = sysctl_namespace(path)
    if not kind:
        return "is not namespaced: it would change the host; if you want that, set it on the host"
    return "" if kind in spaces else f"needs {'an' if kind == 'ipc' else 'a'} {kind} namespace in linux.namespaces"


def sysctl_path(name: str) -> str:
    """The path below /proc/sys of a name in either form of sysctl(8), "" if it has neither.

    The first separator decides: net.ipv4.conf.eth0/1.forwarding and net/ipv4/conf/eth0.1/forwarding are the same.
    """
    dot, slash = name.find("."), name.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        path = "/".join(part.replace("/", ".") for part in name.split("."))
    else:
        path = name
    return "" if any(part in ("", ".", "..") for part in path.split("/")) else path


def sysctl_namespace(path: str) -> str:
    """The type of the namespace to which a kernel parameter belongs; "" if to none. path: below /proc/sys."""
    if path in _IPC_SYSCTLS or path.startswith("fs/mqueue/"):
        return "ipc"
    if path.startswith("net/"):
        return "network"
    if path in (HOSTNAME, DOMAINNAME):
        return "uts"
    if path.startswith("user/"):
        return "user"
    return ""


def _seccomp(seccomp: Seccomp, found: Findings) -> None:
    base = "/linux/seccomp"
    default = seccomp["defaultAction"]
    notify = False
    if not default and seccomp.get("syscalls"):
        found.append((base + "/defaultAction", "must not be empty if there are syscalls"))
        return
    if default == "SCMP_ACT_NOTIFY":
        found.append((base + "/defaultAction", "SCMP_ACT_NOTIFY cannot be the default action"))
    _errno(default, seccomp.get("defaultErrnoRet"), base + "/defaultErrnoRet", found)
    for index, call in enumerate(seccomp.get("syscalls") or ()):
        action = call["action"]
        notify = notify or action == "SCMP_ACT_NOTIFY"
        number = call.get("errnoRet")
        if number is not None:
            _errno(action, number, f"{base}/syscalls/{index}/errnoRet", found)
        if "" in call["names"]:
            found.append((f"{base}/syscalls/{index}/names/{call['names'].index('')}", "must not be empty"))
        for position, argument in enumerate(call.get("args") or ()):
            if argument["index"] > 5:
                pointer = f"{base}/syscalls/{index}/args/{position}/index"
                found.append((pointer, f"a system call has six arguments, 0 to 5, not {argument['index']}"))
        if action == "SCMP_ACT_NOTIFY" and "write" in call["names"]:
            # init reports the number of the listener's descriptor by write, before an agent can answer.
            found.append((f"{base}/syscalls/{index}/names", "SCMP_ACT_NOTIFY cannot be used for write"))
    for index, flag in enumerate(seccomp.get("flags") or ()):
        if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" and not notify:
            found.append((f"{base}/flags/{index}", f"{flag} needs the action SCMP_ACT_NOTIFY: seccomp(2)"))
    listener = seccomp.get("listenerPath")
    if notify and not listener:
        found.append((base + "/listenerPath", "is required for the action SCMP_ACT_NOTIFY"))
    if listener and listener[0] != "/":
        found.append((base + "/listenerPath", f"must be an absolute path, not {listener!r}"))
    if seccomp.get("listenerMetadata") and not listener:
        found.append((base + "/listenerMetadata", "must not be set without listenerPath"))


def _errno(action: str, number: int | None, pointer: str, found: Findings) -> None:
    if number is None:
        return
    if action == "SCMP_ACT_ERRNO":
        if number > _MAX_ERRNO:
            found.append((pointer, f"must be from 0 to {_MAX_ERRNO}, not {number}"))
    elif action == "SCMP_ACT_TRACE":
        if number > 0xFFFF:
            found.append((pointer, f"must be from 0 to 65535, not {number}"))
    else:
        found.append((pointer, f"the action {action} takes no errno"))


def _hidden_paths(member: str, paths: list[str] | None, spaces: dict[str, str], found: Findings) -> None:
    if not paths:
        return
    if "mount" not in spaces:
        found.append(("/linux/" + member, "needs a mount namespace in linux.namespaces"))
    if _are_plain(paths):
        return
    for index, path in enumerate(paths):
        if path[:1] != "/":
            found.append((f"/linux/{member}/{index}", f"must be an absolute path, not {path!r}"))
        elif member == "maskedPaths" and clean(path) == "/":
            found.append((f"/linux/{member}/{index}", "is the container's root itself"))


def _are_plain(paths: list[str]) -> bool:
    """Whether all are sure to be absolute, and none the root itself: without a loop, and so for nearly every list."""
    text = "".join(paths)
    # What begins with "/" and is longer is after "/" and before the next character, "0".
    return "/" < min(paths) and max(paths) < "0" and "//" not in text and "/." not in text


def _memory_policy(policy: MemoryPolicy, found: Findings) -> None:
    """set_mempolicy(2)."""
    mode, nodes, flags = policy["mode"], policy.get("nodes"), policy.get("flags") or ()
    list_of_numbers(nodes, "/linux/memoryPolicy/nodes", found)
    if mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        if nodes:
            found.append(("/linux/memoryPolicy/nodes", f"must be empty with {mode}"))
    elif mode != "MPOL_PREFERRED" and not nodes:
        found.append(("/linux/memoryPolicy/nodes", f"is required with {mode}"))
    if "MPOL_F_NUMA_BALANCING" in flags and mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
        found.append(("/linux/memoryPolicy/flags", f"MPOL_F_NUMA_BALANCING cannot be combined with {mode}"))
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        text = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other"
        found.append(("/linux/memoryPolicy/flags", text))


def _intel_rdt(rdt: IntelRdt, found: Findings) -> None:
    """closID becomes the name of a directory, and the schemata become lines of a file in it."""
    identity = rdt.get("closID")
    if identity and identity != "/" and (identity in (".", "..") or "/" in identity or "\n" in identity):
        found.append(("/linux/intelRdt/closID", f"must be one name, or / for the default group, not {identity!r}"))
    elif identity in RESCTRL_OWN:
        found.append(("/linux/intelRdt/closID", f"{identity} is a directory of the resctrl filesystem itself"))
    if "\n" in (rdt.get("l3CacheSchema") or ""):
        found.append(("/linux/intelRdt/l3CacheSchema", "must not contain a newline"))
    for index, line in enumerate(rdt.get("schemata") or ()):
        if "\n" in line:
            found.append((f"/linux/intelRdt/schemata/{index}", "must not contain a newline"))

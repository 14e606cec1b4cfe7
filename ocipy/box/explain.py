"""`box explain`: what isolates a running box, which field and step it comes from, and where to see it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocipy import Error, Plan, Step
from ocipy.box.box import Box
from ocipy.box.cgroup import Paths, place_of
from ocipy.box.config import ALL_CAPABILITIES
from ocipy.box.copy_on_write import as_words
from ocipy.box.inspect import namespaces
from ocipy.errors import printable

# By type in linux.namespaces: the file in /proc/PID/ns (config-linux.md, namespaces(7)).
KINDS = {
    "pid": "pid", "mount": "mnt", "network": "net", "ipc": "ipc", "uts": "uts", "user": "user", "cgroup": "cgroup",
    "time": "time",
}  # fmt: skip
MEANING = {
    "pid": "its processes see no others; its first process has pid 1",
    "mount": "it has its own mounts",
    "network": "it has its own devices, addresses, routes and ports",
    "ipc": "it has its own shared memory, semaphores and queues",
    "uts": "it has its own host name",
    "user": "its root is another user on the host",
    "cgroup": "it sees its own cgroup as the root",
    "time": "it has its own clocks since boot",
}
# The capabilities, in the order of their numbers (linux/capability.h).
NUMBERED = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split(" ")
SECCOMP_MODES = {"0": "no filter", "2": "system calls are filtered"}
# Controller, v1's file, v2's file, field.
LIMITS = (
    ("memory", "memory.limit_in_bytes", "memory.max", "/linux/resources/memory/limit"),
    ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max", "/linux/resources/memory/swap"),
    ("cpu", "cpu.cfs_quota_us", "cpu.max", "/linux/resources/cpu/quota"),
    ("cpu", "cpu.shares", "cpu.weight", "/linux/resources/cpu/shares"),
    ("cpuset", "cpuset.cpus", "cpuset.cpus", "/linux/resources/cpu/cpus"),
    ("pids", "pids.max", "pids.max", "/linux/resources/pids/limit"),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that isolates a box. what: in words, with the current value. pointer: the field of config.json. steps:
    of the plan, such as "host 3" or "init 12-14". see: the file that shows it."""

    kind: str
    what: str
    pointer: str
    steps: str
    see: str


def explain(box: Box) -> list[Fact]:
    """Everything that isolates it, as the kernel shows it now. Raises Error if it does not run."""
    state = box.state()
    if state is None or not box.is_running():
        raise Error(f"box {box.record.name} is not running", hint=f"ocipy box start {box.record.name}")
    config = json.loads((box.directory.bundle / "config.json").read_bytes())
    plan = box.home.runtime.plan(box.directory.bundle)
    status = read_status(state.pid)
    return [
        *_namespaces(state.pid, config, plan),
        *_id_maps(state.pid, config, plan),
        Fact(
            "root",
            as_words(box.record.copy_on_write),
            "/root/path",
            steps_of(plan, "/root"),
            f"/proc/{state.pid}/mountinfo",
        ),
        *_mounts(state.pid, config, plan),
        *_masks(state.pid, config, plan),
        *_rights(state.pid, status, plan),
        *_limits(box.cgroup(), plan),
    ]


def read_status(pid: int) -> dict[str, str]:
    """/proc/PID/status (proc_pid_status(5)); the process's name can contain anything but a newline."""
    try:
        lines = Path(f"/proc/{pid}/status").read_bytes().split(b"\n")
    except OSError:
        return {}
    pairs = (line.partition(b":") for line in lines)
    return {name.decode("ascii", "replace"): value.strip().decode("utf-8", "replace") for name, _, value in pairs}


def steps_of(plan: Plan, pointer: str) -> str:
    """The steps of a field and of the fields below it."""
    return _chosen(plan, lambda step: step.pointer == pointer or step.pointer.startswith(pointer + "/"))


def steps_at(plan: Plan, pointer: str) -> str:
    """The steps of a field itself."""
    return _chosen(plan, lambda step: step.pointer == pointer)


def _chosen(plan: Plan, wanted: Callable[[Step], bool]) -> str:
    found = []
    for lane, steps in (("host", plan.host), ("init", plan.init)):
        numbers = [step.number for step in steps if wanted(step)]
        if numbers:
            found.append(f"{lane} {_ranges(numbers)}")
    return ", ".join(found)


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as text: "3", "3-5", "3, 7"."""
    parts: list[list[int]] = []
    for one in numbers:
        if parts and one == parts[-1][-1] + 1:
            parts[-1].append(one)
        else:
            parts.append([one])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _namespaces(pid: int, config: Mapping[str, Any], plan: Plan) -> Iterator[Fact]:
    ours, theirs = namespaces(os.getpid()), namespaces(pid)
    asked = {entry["type"]: index for index, entry in enumerate(config["linux"]["namespaces"])}
    for kind, file in KINDS.items():
        if file not in theirs:
            continue
        pointer = f"/linux/namespaces/{asked[kind]}" if kind in asked else ""
        own = theirs[file] != ours.get(file)
        what = f"{kind}: {MEANING[kind]}" if own else f"{kind}: the host's"
        # A single clone creates all new namespaces: a step for the whole list.
        steps = (steps_of(plan, pointer) or steps_at(plan, "/linux/namespaces")) if own else ""
        yield Fact("namespace", f"{what} ({theirs[file]})", pointer, steps, f"/proc/{pid}/ns/{file}")


def _id_maps(pid: int, config: Mapping[str, Any], plan: Plan) -> Iterator[Fact]:
    for file, pointer in (("uid_map", "/linux/uidMappings"), ("gid_map", "/linux/gidMappings")):
        if pointer.rpartition("/")[2] not in config["linux"]:  # the box joined a namespace that had them already
            kinds = [entry["type"] for entry in config["linux"]["namespaces"]]
            pointer = f"/linux/namespaces/{kinds.index('user')}" if "user" in kinds else ""
        for line in read_lines(f"/proc/{pid}/{file}"):
            inside, outside, size = (int(number) for number in line.split(" ") if number)
            if size < (1 << 32) - 1:
                what = f"{file[0]}ids {inside} to {inside + size - 1} are {outside} to {outside + size - 1} on the host"
                yield Fact("ids", what, pointer, steps_of(plan, pointer), f"/proc/{pid}/{file}")


def read_lines(path: str) -> list[str]:
    """The lines of a kernel file; [] if it cannot be read."""
    try:
        return [line.decode("utf-8", "replace") for line in Path(path).read_bytes().split(b"\n") if line]
    except OSError:
        return []


def _mounts(pid: int, config: Mapping[str, Any], plan: Plan) -> Iterator[Fact]:
    see = f"/proc/{pid}/mountinfo"
    for index, mount in enumerate(config["mounts"]):
        options = ",".join(mount.get("options") or ())
        what = f"{mount['destination']}: {mount.get('type', 'bind')} {options}"
        pointer = f"/mounts/{index}"
        yield Fact("mount", what, pointer, steps_of(plan, pointer), see)


def _masks(pid: int, config: Mapping[str, Any], plan: Plan) -> Iterator[Fact]:
    for member, what in (("maskedPaths", "hidden"), ("readonlyPaths", "read-only")):
        for index, path in enumerate(config["linux"].get(member) or ()):
            if Path(path).exists():
                pointer = f"/linux/{member}/{index}"
                yield Fact("mask", f"{path} is {what}", pointer, steps_of(plan, pointer), f"/proc/{pid}/mountinfo")


def capabilities_in(mask: int) -> list[str]:
    """The names of the bits of a set (capabilities(7))."""
    return [f"CAP_{name}" for number, name in enumerate(NUMBERED) if mask >> number & 1]


def _rights(pid: int, status: Mapping[str, str], plan: Plan) -> Iterator[Fact]:
    see = f"/proc/{pid}/status"
    names = capabilities_in(int(status.get("CapBnd", "0"), 16))
    what = f"at most {len(names)} of {len(ALL_CAPABILITIES)} capabilities: {' '.join(names) or 'none'}"
    pointer = "/process/capabilities"
    yield Fact("capabilities", what, pointer, steps_of(plan, pointer), f"{see}, CapBnd")
    privileges = "no program can give it new privileges" if status.get("NoNewPrivs") == "1" else "set-uid programs work"
    pointer = "/process/noNewPrivileges"
    yield Fact("privileges", privileges, pointer, steps_of(plan, pointer), f"{see}, NoNewPrivs")
    filtered = SECCOMP_MODES.get(status.get("Seccomp", "0"), "strict mode")
    yield Fact("filter", filtered, "/linux/seccomp", steps_of(plan, "/linux/seccomp"), f"{see}, Seccomp")


def _limits(paths: Paths, plan: Plan) -> Iterator[Fact]:
    for controller, v1_file, v2_file, pointer in LIMITS:
        top, v1 = place_of(paths, controller)
        path = top / (v1_file if v1 else v2_file)
        steps = steps_of(plan, pointer)
        for line in read_lines(str(path)) if steps else ():  # without a step it is the kernel's default
            yield Fact("limit", f"{path.name} {line}", pointer, steps, str(path))


def as_text(facts: list[Fact]) -> str:
    """The facts as text: a heading for each kind, and below each fact its origin and where to see it."""
    lines: list[str] = []
    kind = ""
    for fact in facts:
        if fact.kind != kind:
            kind = fact.kind
            lines.append(("" if not lines else "\n") + kind)
        lines.append(f"  {printable(fact.what)}")  # it may contain paths from the user or from a kernel file
        origin = f"{fact.pointer}  ({fact.steps})" if fact.steps else fact.pointer
        lines.append(f"      {origin + '  ' if origin else ''}see {fact.see}")
    return "\n".join(lines)

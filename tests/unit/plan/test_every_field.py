"""Every field of config.json has an effect: changing it changes the plan at its pointer, or an error names it.

The list of fields comes from the schema, so a new field fails here until it is applied or refused. The specification
forbids silence (runtime.md, create: a property that cannot be applied MUST be an error).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from ocipy.config.check import check
from ocipy.config.semantic import errors
from ocipy.errors import Error
from ocipy.host.seccomp_compile import compile_profile
from ocipy.plan.build import build
from ocipy.plan.model import Host, Options, Plan, Step
from tests.unit.documents import put
from tests.unit.places import every_leaf

ABSENT = object()

CONTROLLERS = (
    "cpuset", "cpu,cpuacct", "blkio", "memory", "devices", "freezer", "net_cls,net_prio", "perf_event", "hugetlb",
    "pids", "rdma", "misc",
)  # fmt: skip

HOSTS = {
    "v1": Host(cgroup_mode="v1", cgroup_controllers=CONTROLLERS, apparmor=True),
    "v2": Host(
        cgroup_mode="v2",
        cgroup_controllers=("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"),
        apparmor=True,
    ),
    "selinux": Host(cgroup_mode="v2", cgroup_controllers=("memory", "pids"), selinux=True),
}

OPTIONS = Options(container_id="c1", bundle="/bundle", state_directory="/run/ocipy/c1", has_console=True)

MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


class Case(NamedTuple):
    """A field, and two values that have to lead to different plans.

    pointer: of the field in the document. others: what must be set besides. hosts: on which it is tried.
    carried: the pointer of the step that carries it, where that is not at, below or above the field's own.
    """

    pointer: str
    before: Any
    after: Any
    others: Mapping[str, Any] = MappingProxyType({})
    hosts: tuple[str, ...] = ("v1", "v2")
    carried: str = ""


def skeleton() -> dict[str, Any]:
    """A typical container's config, because fields do not work alone."""
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "env": ["PATH=/bin"]},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "mount", "ipc", "uts", "cgroup")],
            "cgroupsPath": "/test/c1",
        },
    }


USER_NAMESPACE = {
    "/linux/namespaces/-": {"type": "user"},
    "/linux/uidMappings": MAP,
    "/linux/gidMappings": MAP,
}
TIME_NAMESPACE = {"/linux/namespaces/-": {"type": "time"}}
BIND = {"destination": "/data", "source": "/srv", "type": "none", "options": ["bind"]}
TMPFS = {"destination": "/data", "source": "tmpfs", "type": "tmpfs", "options": ["nosuid"]}
MAPPED = {**BIND, "options": ["bind", "idmap"], "uidMappings": MAP, "gidMappings": MAP}
DEVICE = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 0, "gid": 0}
RULE = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
SYSCALL = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
ARGUMENT = {"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}
FILTER = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**SYSCALL, "args": [ARGUMENT]}]}
DEADLINE: dict[str, Any] = {
    "policy": "SCHED_DEADLINE",
    "runtime": 10_000_000,
    "deadline": 20_000_000,
    "period": 30_000_000,
}
HOOK = {"path": "/bin/hook", "args": ["hook"], "env": ["A=1"], "timeout": 1}
RESOURCES = "/linux/resources"
BLOCK = RESOURCES + "/blockIO"
CAPABILITIES = ["CAP_KILL", "CAP_CHOWN"]
ALL_SETS = {name: list(CAPABILITIES) for name in ("bounding", "permitted", "effective", "inheritable", "ambient")}


def process_cases() -> list[Case]:
    user, scheduler = "/process/user", "/process/scheduler"
    cases = [
        Case("/root/path", "rootfs", "other"),
        Case("/root/readonly", False, True),
        Case("/process/args/0", "sh", "ls"),
        Case("/process/cwd", "/", "/tmp"),
        Case("/process/env/0", "PATH=/bin", "PATH=/sbin"),
        Case("/process/terminal", False, True),
        Case("/process/consoleSize", {"height": 25, "width": 80}, {"height": 26, "width": 80},
             {"/process/terminal": True}, carried="/process/terminal"),
        Case("/process/consoleSize", {"height": 25, "width": 80}, {"height": 25, "width": 81},
             {"/process/terminal": True}, carried="/process/terminal"),
        Case(user + "/uid", 0, 1000),
        Case(user + "/gid", 0, 1000),
        Case(user + "/umask", ABSENT, 0o77),
        Case(user + "/additionalGids/0", 5, 6, {user + "/additionalGids": [5]}),
        Case("/process/apparmorProfile", ABSENT, "confined"),
        Case("/process/selinuxLabel", ABSENT, "system_u:system_r:container_t:s0", hosts=("v1", "selinux")),
        Case("/process/oomScoreAdj", ABSENT, 0),
        Case("/process/noNewPrivileges", False, True),
        Case("/process/ioPriority/class", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_RT", {"/process/ioPriority/priority": 1}),
        Case("/process/ioPriority/priority", 1, 2, {"/process/ioPriority/class": "IOPRIO_CLASS_BE"}),
        Case(scheduler + "/policy", "SCHED_OTHER", "SCHED_BATCH"),
        Case(scheduler + "/nice", 0, 5, {scheduler + "/policy": "SCHED_OTHER"}),
        Case(scheduler + "/priority", 1, 2, {scheduler + "/policy": "SCHED_FIFO"}),
        Case(
            scheduler + "/flags",
            [],
            ["SCHED_FLAG_RESET_ON_FORK"],
            {scheduler + "/policy": "SCHED_FIFO", scheduler + "/priority": 1},
        ),
        *(Case(f"{scheduler}/{name}", DEADLINE[name], DEADLINE[name] + 1, {scheduler: DEADLINE})
          for name in ("runtime", "deadline", "period")),
        Case("/process/rlimits/0/type", "RLIMIT_CPU", "RLIMIT_AS", {"/process/rlimits": [{"soft": 1, "hard": 9}]}),
        Case("/process/rlimits/0/soft", 1, 2, {"/process/rlimits": [{"type": "RLIMIT_CPU", "hard": 9}]}),
        Case("/process/rlimits/0/hard", 8, 9, {"/process/rlimits": [{"type": "RLIMIT_CPU", "soft": 1}]}),
        Case("/hostname", ABSENT, "web"),
        Case("/domainname", ABSENT, "example.org"),
    ]  # fmt: skip
    for name in ALL_SETS:
        cases.append(Case(f"/process/capabilities/{name}/1", "CAP_CHOWN", "CAP_SETUID",
                          {"/process/capabilities": {**ALL_SETS, "ambient": ALL_SETS[name][:1]}
                           if name != "ambient" else {**ALL_SETS, "permitted": [*CAPABILITIES, "CAP_SETUID"],
                                                      "inheritable": [*CAPABILITIES, "CAP_SETUID"]},
                           }))  # fmt: skip
    return cases


def mount_cases() -> list[Case]:
    mount = {"/mounts/-": TMPFS}
    cases = [
        Case("/mounts/1/source", "/srv", "/opt", {"/mounts/-": BIND}),
        Case("/mounts/1/destination", "/data", "/other", mount),
        Case("/mounts/1/options/0", "nosuid", "nodev", mount),
        Case("/mounts/1/type", "tmpfs", "ramfs", mount),
    ]
    for member in ("uidMappings", "gidMappings"):
        for name, value in (("containerID", 1), ("hostID", 200000), ("size", 5)):
            cases.append(Case(f"/mounts/1/{member}/0/{name}", MAP[0][name], value, {"/mounts/-": MAPPED}))
            ids = {"/process/user": {"uid": 3, "gid": 3}}  # mapped in each of the cases
            cases.append(Case(f"/linux/{member}/0/{name}", MAP[0][name], value, {**USER_NAMESPACE, **ids}))
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        hook = {f"/hooks/{kind}": [HOOK]}
        cases += [
            Case(f"/hooks/{kind}/0/path", "/bin/hook", "/bin/other", hook),
            Case(f"/hooks/{kind}/0/args/0", "hook", "other", hook),
            Case(f"/hooks/{kind}/0/env/0", "A=1", "A=2", hook),
            Case(f"/hooks/{kind}/0/timeout", 1, 2, hook),
        ]
    return cases


def linux_cases() -> list[Case]:
    call = "/linux/seccomp/syscalls/0"
    seccomp = {"/linux/seccomp": FILTER}
    notify = {**FILTER, "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    policy = {"/linux/memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"}}
    return [
        *(Case(f"/linux/devices/0/{name}", DEVICE[name], value, {"/linux/devices": [DEVICE]})
          for name, value in (("path", "/dev/x"), ("type", "b"), ("major", 11), ("minor", 1), ("fileMode", 0o666),
                              ("uid", 1), ("gid", 1))),
        Case("/linux/netDevices/eth0/name", "a", "b"),
        Case("/linux/namespaces/0/type", "pid", "time"),
        Case("/linux/namespaces/0/path", ABSENT, "/proc/1/ns/pid"),
        Case("/linux/cgroupsPath", "/test/c1", "/test/c2"),
        Case("/linux/rootfsPropagation", "private", "shared"),
        Case("/linux/sysctl/net.ipv4.ip_forward", "0", "1"),
        Case("/linux/maskedPaths/0", "/proc/kcore", "/proc/keys"),
        Case("/linux/readonlyPaths/0", "/proc/sys", "/proc/bus"),
        Case("/linux/mountLabel", ABSENT, "system_u:object_r:container_file_t:s0", {"/mounts/-": TMPFS},
             hosts=("v1", "selinux"), carried="/mounts/1"),
        Case("/linux/personality/domain", "LINUX", "LINUX32"),
        Case("/linux/memoryPolicy/mode", "MPOL_BIND", "MPOL_INTERLEAVE", policy),
        Case("/linux/memoryPolicy/nodes", "0", "0-1", policy),
        Case("/linux/memoryPolicy/flags", ABSENT, ["MPOL_F_STATIC_NODES"], policy),
        *(Case(f"/linux/timeOffsets/{clock}/{name}", 1, 2, TIME_NAMESPACE)
          for clock in ("boottime", "monotonic") for name in ("secs", "nanosecs")),
        *(Case(f"/linux/intelRdt/{name}", ABSENT, value)
          for name, value in (("closID", "gold"), ("schemata", ["L3:0=f"]), ("l3CacheSchema", "L3:0=f"),
                              ("memBwSchema", "MB:0=20"), ("enableMonitoring", True))),
        Case("/linux/seccomp/defaultAction", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", seccomp),
        Case("/linux/seccomp/defaultErrnoRet", 1, 38, {"/linux/seccomp": {"defaultAction": "SCMP_ACT_ERRNO"}}),
        Case("/linux/seccomp/flags", [], ["SECCOMP_FILTER_FLAG_LOG"], seccomp),
        Case("/linux/seccomp/architectures", ABSENT, ["SCMP_ARCH_X86"], seccomp),
        Case("/linux/seccomp/listenerPath", "/run/a", "/run/b", {"/linux/seccomp": notify}),
        Case("/linux/seccomp/listenerMetadata", "a", "b", {"/linux/seccomp": {**notify, "listenerPath": "/run/a"}},
             carried="/linux/seccomp/listenerPath"),
        Case(call + "/names/0", "mkdir", "rmdir", seccomp),
        Case(call + "/action", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", seccomp),
        Case(call + "/errnoRet", 1, 2, seccomp),
        Case(call + "/args/0/index", 0, 1, seccomp),
        Case(call + "/args/0/value", 1, 3, seccomp),
        Case(call + "/args/0/valueTwo", 2, 3, seccomp),
        Case(call + "/args/0/op", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_EQ", seccomp),
    ]  # fmt: skip


def resource_cases() -> list[Case]:
    memory, cpu = RESOURCES + "/memory", RESOURCES + "/cpu"
    limits, priorities = RESOURCES + "/hugepageLimits", RESOURCES + "/network/priorities"
    return [
        *(Case(f"{RESOURCES}/devices/0/{name}", RULE[name], value, {RESOURCES + "/devices": [RULE]})
          for name, value in (("allow", False), ("type", "b"), ("major", 11), ("minor", 1), ("access", "r"))),
        Case(RESOURCES + "/unified/memory.high", "max", "1048576"),
        Case(RESOURCES + "/pids/limit", 5, 6),
        Case(BLOCK + "/weight", 100, 200),
        Case(BLOCK + "/leafWeight", 100, 200),
        *(Case(f"{BLOCK}/weightDevice/0/{name}", value, value + 8,
               {BLOCK + "/weightDevice": [{"major": 8, "minor": 0, "weight": 100}]})
          for name, value in (("major", 8), ("minor", 0), ("weight", 100), ("leafWeight", 100))),
        *(Case(f"{BLOCK}/throttle{what}Device/0/{name}", value, value + 8,
               {f"{BLOCK}/throttle{what}Device": [{"major": 8, "minor": 0, "rate": 600}]})
          for what in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")
          for name, value in (("major", 8), ("minor", 0), ("rate", 600))),
        *(Case(f"{cpu}/{name}", before, after, others) for name, before, after, others in (
            ("shares", 512, 1024, {}), ("quota", 10000, 20000, {}), ("period", 50000, 60000, {}),
            ("burst", 1, 2, {cpu + "/quota": 10000}), ("realtimeRuntime", 1000, 2000, {}),
            ("realtimePeriod", 100000, 200000, {}), ("cpus", "0", "0-1", {}), ("mems", "0", "1", {}),
            ("idle", ABSENT, 1, {}))),
        *(Case(f"{memory}/{name}", before, after, others) for name, before, after, others in (
            ("limit", 10 << 20, 11 << 20, {}), ("reservation", 10 << 20, 11 << 20, {}),
            ("swap", 20 << 20, 30 << 20, {memory + "/limit": 10 << 20}), ("kernel", 10 << 20, 11 << 20, {}),
            ("kernelTCP", 10 << 20, 11 << 20, {}), ("swappiness", 10, 20, {}), ("disableOOMKiller", False, True, {}))),
        # a cgroup of v2 always counts what is below it, and v1 itself refuses a limit below what is used
        Case(memory + "/useHierarchy", False, True, hosts=("v1",)),
        Case(memory + "/checkBeforeUpdate", False, True, {memory + "/limit": 10 << 20}, hosts=("v2",)),
        Case(limits + "/0/pageSize", "2MB", "1GB", {limits: [{"limit": 0}]}),
        Case(limits + "/0/limit", 0, 2 << 20, {limits: [{"pageSize": "2MB"}]}),
        Case(RESOURCES + "/network/classID", 1, 2),
        Case(priorities + "/0/name", "a", "b", {priorities: [{"priority": 1}]}),
        Case(priorities + "/0/priority", 1, 2, {priorities: [{"name": "a"}]}),
        Case(RESOURCES + "/rdma/mlx5_1/hcaHandles", 1, 2),
        Case(RESOURCES + "/rdma/mlx5_1/hcaObjects", 1, 2),
    ]  # fmt: skip


CASES = process_cases() + mount_cases() + linux_cases() + resource_cases()

WITHOUT_EFFECT = {
    "/ociVersion": "says by which specification the document is read; all of 1.x are read alike",
    "/annotations/*": "metadata for others; those that ocipy knows have their own tests",
    "/process/execCPUAffinity/initial": "concerns exec only (config.md: not applicable to the init process)",
    "/process/execCPUAffinity/final": "concerns exec only (config.md: not applicable to the init process)",
    "/linux/personality/flags/*": "every value is refused by the rules (semantic_linux.py): none is supported yet",
}
"""Fields without a case, and why."""

FREE_KEYS = {
    "/linux/timeOffsets/boottime": "/linux/timeOffsets/*",
    "/linux/timeOffsets/monotonic": "/linux/timeOffsets/*",
    "/linux/netDevices/eth0": "/linux/netDevices/*",
    "/linux/sysctl/net.ipv4.ip_forward": "/linux/sysctl/*",
    "/linux/resources/unified/memory.high": "/linux/resources/unified/*",
    "/linux/resources/rdma/mlx5_1": "/linux/resources/rdma/*",
}


def field_of(pointer: str) -> str:
    """The name of the field, as Place.field has it: "*" for indices and keys."""
    for key, field in FREE_KEYS.items():
        if pointer.startswith(key):
            pointer = field + pointer[len(key) :]
    return "/".join("*" if part.isdigit() else part for part in pointer.split("/"))


def test_every_field_of_the_schema_has_a_case() -> None:
    """A case may set a whole array of scalars: then the array's pointer stands for the field of its items."""
    cases = {field_of(case.pointer) for case in CASES}
    missing = []
    for place in every_leaf():
        names = {place.field, place.field.removesuffix("/*")}
        if not names & cases and place.field not in WITHOUT_EFFECT:
            missing.append(place.field)
    assert missing == []


def test_there_is_no_case_of_a_field_that_is_no_longer_there() -> None:
    known = {name for place in every_leaf() for name in (place.field, place.field.removesuffix("/*"))}
    assert {field_of(case.pointer) for case in CASES} - known == set()
    assert set(WITHOUT_EFFECT) - known == set()


def document(case: Case, value: Any) -> Any:
    config = skeleton()
    for pointer, other in case.others.items():
        config = put(config, pointer, other)
    if value is ABSENT:
        return config
    parts = case.pointer.split("/")
    if parts[-1] == "0" and case.pointer.rpartition("/")[0] not in case.others:
        holder = case.pointer.rpartition("/")[0]
        return put(config, holder, [value])
    return put(config, case.pointer, value)


def related(step: str, field: str) -> bool:
    """One pointer lies at or below the other, or both are members of the same entry of an array."""
    if not step:
        return False
    if step == field or step.startswith(field + "/") or field.startswith(step + "/"):
        return True
    entry = step.rpartition("/")[0]
    return entry == field.rpartition("/")[0] and entry[-1:].isdigit()


def planned(case: Case, value: Any, host: Host) -> Plan | Error:
    config = document(case, value)
    assert check(config) is None and errors(config) == [], "the case must be a valid config"
    try:
        return build(config, host, OPTIONS)
    except Error as error:
        return error


def steps(plan: Plan, config: Any) -> Sequence[Step]:
    """Those of both lanes. What the plan says about a filter is a summary; the program is the filter."""
    found = plan.host + plan.init
    for step in found:
        if step.action == "seccomp_filter":
            vars(step)["program"] = compile_profile(config["linux"]["seccomp"])[0]
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.pointer)
def test_a_field_is_applied_or_refused(case: Case) -> None:
    for name in case.hosts:
        after = planned(case, case.after, HOSTS[name])
        if isinstance(after, Error):
            assert related(after.pointer, case.pointer), f"{name}: refused as {after}"
            continue
        before = planned(case, case.before, HOSTS[name])
        known = [] if isinstance(before, Error) else steps(before, document(case, case.before))
        changed = [step for step in steps(after, document(case, case.after)) if step not in known]
        warned = [] if isinstance(before, Error) else before.warnings
        pointers = [step.pointer for step in changed]
        pointers += [pointer for pointer, text in after.warnings if (pointer, text) not in warned]
        place = case.carried or case.pointer
        assert any(related(pointer, place) for pointer in pointers), f"{name}: no effect; changed: {changed}"

"""The golden plans: the plans of configs with every concern, on hosts of each kind, as text.

    python -m tests.unit.golden        rewrites tests/unit/plans

`git diff` then shows what has moved. Review it like code: the order protects the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from ocipy.errors import printable
from ocipy.plan import build as create
from ocipy.plan import exec as another
from ocipy.plan.model import Host, Options, Plan, Step

PLANS = Path(__file__).resolve().parent / "plans"

V1 = Host(
    cgroup_mode="hybrid",
    cgroup_controllers=("cpuset", "cpu,cpuacct", "blkio", "memory", "devices", "freezer", "pids"),
    apparmor=True,
)
V2 = Host(cgroup_mode="v2", cgroup_controllers=("cpuset", "cpu", "io", "memory", "pids"), apparmor=True)
ROOTLESS = Host(
    uid=1000, gid=1000, rootless=True, capabilities=0, clones_mounts=False, cgroup_mode="v2", cgroup_controllers=()
)

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
CAPABILITIES = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
KINDS = ("pid", "network", "mount", "ipc", "uts", "cgroup")
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]

EVERYTHING: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "hostname": "web",
    "domainname": "example.org",
    "root": {"path": "rootfs", "readonly": True},
    "process": {
        "terminal": True,
        "consoleSize": {"height": 24, "width": 80},
        "user": {"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o27},
        "cwd": "/srv",
        "args": ["server", "--all"],
        "env": ["PATH=/usr/bin:/bin", "HOME=/srv"],
        "capabilities": dict.fromkeys(SETS, CAPABILITIES),
        "rlimits": [
            {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096},
            {"type": "RLIMIT_CPU", "soft": 1, "hard": 2},
        ],
        "noNewPrivileges": True,
        "apparmorProfile": "a-profile",
        "oomScoreAdj": 100,
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
        "execCPUAffinity": {"initial": "0", "final": "0-1"},
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "nosuid", "mode=755"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "newinstance"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
        {"destination": "/data", "source": "/srv/data", "options": ["rbind", "ro", "rslave"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "ro"]},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "tmpcopyup"]},
    ],
    "hooks": {kind: [{"path": f"/hooks/{kind}", "timeout": 5}] for kind in HOOKS},
    "linux": {
        "namespaces": [{"type": kind} for kind in KINDS],
        "cgroupsPath": "/engine/web",
        "resources": {
            "devices": [{"allow": False}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
            "memory": {"limit": 1 << 28},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0"},
            "pids": {"limit": 100},
        },
        "devices": [
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}
        ],
        "sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "65536"},
        "netDevices": {"eth7": {"name": "eth0"}},
        "intelRdt": {
            "closID": "gold",
            "l3CacheSchema": "L3:0=f",
            "memBwSchema": "MB:0=20",
            "schemata": ["L2:0=3"],
            "enableMonitoring": True,
        },
        "seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/run/agent",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        },
        "maskedPaths": ["/proc/kcore", "/sys/firmware"],
        "readonlyPaths": ["/proc/sys", "/proc/bus"],
        "rootfsPropagation": "rslave",
        "personality": {"domain": "LINUX"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
    },
}


def options(**more: Any) -> Options:
    """The options of an engine's call."""
    return Options(container_id="web", bundle="/b", state_directory="/run/ocipy/web", has_console=True, **more)


def of_systemd() -> dict[str, Any]:
    """With a cgroupsPath in systemd's form."""
    changed = deepcopy(EVERYTHING)
    changed["linux"]["cgroupsPath"] = "machine.slice:engine:web"
    return changed


def in_user_namespace() -> dict[str, Any]:
    """With a new user namespace and without no_new_privs: then the filter needs CAP_SYS_ADMIN."""
    changed = deepcopy(EVERYTHING)
    changed["process"]["noNewPrivileges"] = False
    changed["linux"]["namespaces"].append({"type": "user"})
    changed["linux"] |= {"uidMappings": MAP, "gidMappings": MAP}
    return changed


def staged() -> dict[str, Any]:
    """Joined namespaces, a new user namespace and a time namespace: more than a single clone3 can do."""
    changed = in_user_namespace()
    namespaces = changed["linux"]["namespaces"]
    namespaces[1] = {"type": "network", "path": "/run/netns/a"}
    namespaces[3] = {"type": "ipc", "path": "/proc/1/ns/ipc"}
    namespaces.append({"type": "time"})
    changed["linux"]["timeOffsets"] = {"boottime": {"secs": 100}}
    del changed["linux"]["sysctl"]["kernel.msgmax"]
    del changed["linux"]["sysctl"]["net.ipv4.ip_forward"]
    del changed["linux"]["netDevices"]
    return changed


def watched() -> dict[str, Any]:
    """With a joined pid namespace: init enters it only when processes there could see nothing of the host's in it."""
    changed = deepcopy(EVERYTHING)
    changed["linux"]["namespaces"] = [entry for entry in changed["linux"]["namespaces"] if entry["type"] != "pid"]
    changed["linux"]["namespaces"].append({"type": "pid", "path": "/proc/1/ns/pid"})
    return changed


def watched_by_systemd() -> dict[str, Any]:
    """The same, with limits that systemd must know."""
    changed = watched()
    changed["linux"]["cgroupsPath"] = "machine.slice:engine:web"
    changed["linux"]["resources"]["unified"] = {"pids.max": "50", "memory.high": "1000000"}
    return changed


def at_once() -> dict[str, Any]:
    """Without what happens between create and start, `run` lets init go on to the exec."""
    changed = deepcopy(EVERYTHING)
    del changed["hooks"], changed["linux"]["intelRdt"], changed["linux"]["netDevices"], changed["linux"]["sysctl"]
    return changed


def rootless() -> dict[str, Any]:
    """The config of `ocipy spec --rootless`, shortened."""
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/sys", "source": "/sys", "options": ["rbind", "nosuid", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "cgroup", "user")],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "maskedPaths": ["/proc/kcore"],
            # With noNewPrivileges the filter is loaded last.
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        },
    }


def without_mount_namespace() -> dict[str, Any]:
    """On the host's mounts, chroot sets the root."""
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"]},
        "linux": {"namespaces": [{"type": "pid"}]},
    }


def _exec(document: Any, host: Host, **target: Any) -> Plan:
    told = options(pid_file="/run/pid", pidfd_socket="/run/pidfd")
    return another.build(document, host, told, another.Target(**target))


def _create(document: Any, host: Host, **more: Any) -> Plan:
    return create.build(document, host, options(**more))


def plans() -> dict[str, Plan]:
    """Each golden plan by its file name."""
    v1_cgroups = {"memory": "/sys/fs/cgroup/memory/web", "": "/sys/fs/cgroup/unified/web"}
    user_kinds = (*KINDS, "user")
    return {
        "create-v1": _create(EVERYTHING, V1),
        "create-v2": _create(EVERYTHING, V2),
        "create-systemd-v2": _create(of_systemd(), V2, systemd_cgroup=True),
        "create-user-namespace-v2": _create(in_user_namespace(), V2),
        "create-staged-v1": _create(staged(), V1),
        "create-watched-v1": _create(watched(), V1),
        "create-watched-systemd-v2": _create(watched_by_systemd(), V2, systemd_cgroup=True),
        "create-rootless-v2": _create(rootless(), ROOTLESS),
        "create-without-mount-namespace-v1": _create(without_mount_namespace(), V1),
        "run-v1": _create(at_once(), V1, starts=True),
        "run-v2": _create(at_once(), V2, starts=True),
        "exec-v1": _exec(EVERYTHING, V1, kinds=KINDS, cgroups=v1_cgroups),
        "exec-user-namespace-v2": _exec(in_user_namespace(), V2, kinds=user_kinds, cgroups={"": "/sys/fs/cgroup/web"}),
    }


def as_text(plan: Plan) -> str:
    """A line per step, without numbers, so a new step adds one line. The host's lane first, then init's."""
    lanes = (_lane("host", plan.host), _lane("init", plan.init))
    warnings = [f"warning: {pointer}: {text}\n" for pointer, text in plan.warnings]
    return "\n".join(lanes) + "".join(warnings)


def _lane(name: str, steps: Sequence[Step]) -> str:
    lines = [
        f"{name} {step.action:<23} {printable(step.describe()):<70} {step.pointer}".rstrip() + "\n" for step in steps
    ]
    return "".join(lines)


def write() -> None:
    """Write every plan again."""
    PLANS.mkdir(exist_ok=True)
    wanted = plans()
    for path in PLANS.glob("*.txt"):
        if path.stem not in wanted:
            path.unlink()
    for name, plan in wanted.items():
        (PLANS / f"{name}.txt").write_text(as_text(plan))


if __name__ == "__main__":
    write()

"""Configs for the rules across fields: each rule has one that breaks it, and a similar one that does not."""

from __future__ import annotations

from typing import Any

from ocipy.config.semantic import RLIMITS
from tests.unit.documents import minimal, put

MAP = [{"containerID": 0, "hostID": 1000, "size": 10}]


def ids(*ranges: tuple[int, int, int]) -> list[dict[str, int]]:
    """(container id, host id, size) of each entry."""
    return [{"containerID": first, "hostID": host, "size": size} for first, host, size in ranges]


def config(*members: tuple[str, Any]) -> Any:
    """A config with a new namespace of each kind, plus these members."""
    kinds = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]
    document = put(minimal(), "/linux/namespaces", [{"type": kind} for kind in kinds])
    document = put(document, "/linux/uidMappings", MAP)
    document = put(document, "/linux/gidMappings", MAP)
    for pointer, value in members:
        document = put(document, pointer, value)
    return document


def without(kind: str, *members: tuple[str, Any]) -> Any:
    """The same without the namespace of one kind."""
    document = config(*members)
    document["linux"]["namespaces"] = [space for space in document["linux"]["namespaces"] if space["type"] != kind]
    if kind == "user":
        del document["linux"]["uidMappings"], document["linux"]["gidMappings"]
    return document


def seccomp(**members: Any) -> tuple[str, Any]:
    return "/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", **members}


def call(**members: Any) -> tuple[str, Any]:
    return seccomp(syscalls=[{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", **members}])


def mount(*words: str, **members: Any) -> tuple[str, Any]:
    """A bind mount with more options, or with other members."""
    return "/mounts", [{"destination": "/a", "source": "/b", "options": ["bind", *words], **members}]


KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
SC = "/process/scheduler"
RES = "/linux/resources"

BROKEN: list[tuple[Any, str]] = [
    (config(("/ociVersion", "")), "/ociVersion"),
    (config(("/ociVersion", "1.0")), "/ociVersion"),
    (config(("/ociVersion", "1.٣.0")), "/ociVersion"),
    (config(("/ociVersion", "2.0.0")), "/ociVersion"),
    (config(("/root", None)), "/root"),
    (config(("/root/path", "")), "/root/path"),
    (config(("/process/args", [])), "/process/args"),
    (config(("/process/args", None)), "/process/args"),
    (config(("/process/cwd", "root")), "/process/cwd"),
    (config(("/process/cwd", "")), "/process/cwd"),
    (config(("/process/env", ["A=1", "B"])), "/process/env/1"),
    (config(("/process/env", ["=1"])), "/process/env/0"),
    (config(("/process/env", [""])), "/process/env/0"),
    (without("user", ("/process/user/uid", 2**32 - 1)), "/process/user/uid"),
    (without("user", ("/process/user/gid", 2**32 - 1)), "/process/user/gid"),
    (without("user", ("/process/user/additionalGids", [0, 2**32 - 1])), "/process/user/additionalGids/1"),
    (config(("/process/user/additionalGids", [5] * 65537)), "/process/user/additionalGids"),
    (config(("/process/user/umask", 0o1000)), "/process/user/umask"),
    (config(("/process/oomScoreAdj", -1001)), "/process/oomScoreAdj"),
    (config(("/process/oomScoreAdj", 1001)), "/process/oomScoreAdj"),
    (config(("/process/rlimits", [{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}])), "/process/rlimits/0/type"),
    (config(("/process/rlimits", [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2)), "/process/rlimits/1/type"),
    (config(("/process/rlimits", [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}])), "/process/rlimits/0/soft"),
    (config((SC, {"policy": "SCHED_ISO"})), SC + "/policy"),
    (config((SC, {"policy": "SCHED_OTHER", "nice": 20})), SC + "/nice"),
    (config((SC, {"policy": "SCHED_BATCH", "nice": -21})), SC + "/nice"),
    (config((SC, {"policy": "SCHED_IDLE", "nice": 1})), SC + "/nice"),
    (config((SC, {"policy": "SCHED_FIFO"})), SC + "/priority"),
    (config((SC, {"policy": "SCHED_RR", "priority": 100})), SC + "/priority"),
    (config((SC, {"policy": "SCHED_OTHER", "priority": 1})), SC + "/priority"),
    (config((SC, {"policy": "SCHED_OTHER", "runtime": 1})), SC + "/runtime"),
    (config((SC, {"policy": "SCHED_FIFO", "priority": 1, "deadline": 1})), SC + "/deadline"),
    (config((SC, {"policy": "SCHED_OTHER", "period": 1})), SC + "/period"),
    (config((SC, {"policy": "SCHED_DEADLINE"})), SC),
    (config((SC, {"policy": "SCHED_DEADLINE", "runtime": 3, "deadline": 2, "period": 4})), SC),
    (config((SC, {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 5, "period": 4})), SC),
    (config(("/process/ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 8})), "/process/ioPriority/priority"),
    (config(("/process/ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": -1})), "/process/ioPriority/priority"),
    (config(("/process/execCPUAffinity", {"initial": "0-"})), "/process/execCPUAffinity/initial"),
    (config(("/process/execCPUAffinity", {"final": "3-1"})), "/process/execCPUAffinity/final"),
    (config(("/process/execCPUAffinity", {"final": "0-8192"})), "/process/execCPUAffinity/final"),
    (without("uts", ("/hostname", "web")), "/hostname"),
    (without("uts", ("/domainname", "web")), "/domainname"),
    (config(("/hostname", "ä" * 33)), "/hostname"),
    (config(mount(destination="")), "/mounts/0/destination"),
    (config(mount(uidMappings=MAP)), "/mounts/0/uidMappings"),
    (config(mount(gidMappings=MAP, uidMappings=[])), "/mounts/0/gidMappings"),
    (without("user", mount("idmap")), "/mounts/0/options/1"),
    (without("user", mount("ridmap")), "/mounts/0/options/1"),
    (config(mount(source="")), "/mounts/0/source"),
    (config(mount(destination="/proc/self")), "/mounts/0/destination"),
    (config(mount(destination="x/../proc/sys/kernel")), "/mounts/0/destination"),
    (without("mount", mount(destination="/")), "/mounts/0/destination"),
    (config(mount("remount", destination="/")), "/mounts/0/destination"),
    (config(mount("copy-symlink", destination="/x/../..")), "/mounts/0/destination"),
    (config(mount(destination="/", type="cgroup", options=[])), "/mounts/0/destination"),
    (config(mount(destination="/", type="tmpfs", options=["size=1m,mode=755"])), "/mounts/0/destination"),
    (config(mount("copy-symlink", "dest-nofollow")), "/mounts/0/options"),
    (config(mount("idmap=uids=1-2")), "/mounts/0/options"),
    (config(mount("idmap=uids=@9-10-1")), "/mounts/0/options"),
    (config(mount(type="tmpfs", options=[], uidMappings=MAP, gidMappings=MAP)), "/mounts/0/options"),
    (config(mount(type="proc", options=["tmpcopyup"])), "/mounts/0/options"),
    (config(mount(type="cgroup", options=["tmpcopyup"])), "/mounts/0/options"),
    (config(mount(type="tmpfs", destination="/proc", options=[])), "/mounts/0/type"),
    (config(mount(type="none", options=["rshared"])), "/mounts/0/type"),
    (
        config(mount(), ("/linux/mountLabel", "x"), ("/annotations/run.oci.mount_context_type", "size=1,x")),
        "/annotations/run.oci.mount_context_type",
    ),
    (
        config(mount(uidMappings=[{**MAP[0], "size": 0}], gidMappings=MAP)),
        "/mounts/0/uidMappings/0/size",
    ),
    (config(("/hooks/prestart", [{"path": "/a"}, {"path": "a"}])), "/hooks/prestart/1/path"),
    (config(("/hooks/poststop", [{"path": ""}])), "/hooks/poststop/0/path"),
    (config(("/hooks/poststart", [{"path": "/a", "args": ["", "b"]}])), "/hooks/poststart/0/args/0"),
    (config(("/hooks/poststart", [{"path": "/a", "env": ["A=1", "=1"]}])), "/hooks/poststart/0/env/1"),
    (config(("/hooks/poststart", [{"path": "/a", "env": ["B"]}])), "/hooks/poststart/0/env/0"),
    (config(("/annotations", {"": "x"})), "/annotations/"),
    (config(("/linux/namespaces/-", {"type": "pid"})), "/linux/namespaces/8/type"),
    (config(("/linux/namespaces/0/path", "proc/1/ns/pid")), "/linux/namespaces/0/path"),
    (config(("/linux/gidMappings", [])), "/linux/uidMappings"),
    (config(("/linux/uidMappings", None)), "/linux/gidMappings"),
    (config(("/linux/uidMappings", None), ("/linux/gidMappings", None)), "/linux/uidMappings"),
    (config(("/linux/uidMappings", [{**MAP[0], "size": 0}])), "/linux/uidMappings/0/size"),
    (config(("/linux/uidMappings", MAP * 341)), "/linux/uidMappings"),
    (config(("/linux/uidMappings", [*MAP, {**MAP[0], "hostID": 5000}])), "/linux/uidMappings/1/containerID"),
    (config(("/linux/gidMappings", [*MAP, {**MAP[0], "containerID": 10}])), "/linux/gidMappings/1/hostID"),
    # They overlap by one id, the last of one and the first of the other.
    (
        config(("/linux/uidMappings", [*MAP, {"containerID": 9, "hostID": 5000, "size": 1}])),
        "/linux/uidMappings/1/containerID",
    ),
    (
        config(("/linux/uidMappings", [*MAP, {"containerID": 10, "hostID": 1009, "size": 1}])),
        "/linux/uidMappings/1/hostID",
    ),
    (
        config(("/linux/gidMappings", [{"containerID": 9, "hostID": 5000, "size": 2}, *MAP])),
        "/linux/gidMappings/0/containerID",
    ),
    (config(("/linux/uidMappings", [{**MAP[0], "size": 2**32 - 1}])), "/linux/uidMappings/0/size"),
    (config(("/linux/uidMappings", ids((0, 2**32 - 2, 2)))), "/linux/uidMappings/0/size"),
    (without("time", ("/linux/timeOffsets", {"boottime": {"secs": 1}})), "/linux/timeOffsets"),
    (
        config(("/linux/namespaces/7/path", "/proc/1/ns/time"), ("/linux/timeOffsets", {"boottime": {"secs": 1}})),
        "/linux/timeOffsets",
    ),
    (config(("/linux/timeOffsets", {"realtime": {"secs": 1}})), "/linux/timeOffsets/realtime"),
    (config(("/linux/timeOffsets", {"boottime": {"nanosecs": 10**9}})), "/linux/timeOffsets/boottime/nanosecs"),
    (config(("/linux/devices", [{"type": "c", "path": "dev/x", "major": 1, "minor": 1}])), "/linux/devices/0/path"),
    (config(("/linux/devices", [{"type": "p", "path": "/dev/.."}])), "/linux/devices/0/path"),
    (config(("/linux/devices", [{"type": "c", "path": "/dev/x", "minor": 1}])), "/linux/devices/0"),
    (config(("/linux/devices", [{"type": "b", "path": "/dev/x", "major": 1}])), "/linux/devices/0"),
    (
        config(("/linux/devices", [{"type": "b", "path": "/dev/x", "major": -1, "minor": 0}])),
        "/linux/devices/0/major",
    ),
    (
        config(("/linux/devices", [{"type": "b", "path": "/dev/x", "major": 1, "minor": 2**20}])),
        "/linux/devices/0/minor",
    ),
    (config(("/linux/devices", [{"type": "p", "path": "/dev/x", "uid": 2**32 - 1}])), "/linux/devices/0/uid"),
    (without("network", ("/linux/netDevices", {"eth0": {}})), "/linux/netDevices"),
    (config(("/linux/netDevices", {"a/b": {}})), "/linux/netDevices/a~1b"),
    (config(("/linux/netDevices", {"eth%d": {}})), "/linux/netDevices/eth%d"),
    (config(("/linux/netDevices", {"x" * 16: {}})), "/linux/netDevices/" + "x" * 16),
    (config(("/linux/netDevices", {"eth0": {"name": "a b"}})), "/linux/netDevices/eth0/name"),
    (config(("/linux/netDevices", {"eth0": {"name": "a%s"}})), "/linux/netDevices/eth0/name"),
    (config(("/linux/netDevices", {"eth0": {"name": "%d%d"}})), "/linux/netDevices/eth0/name"),
    (config(("/linux/netDevices", {"eth0": {"name": "a"}, "eth1": {"name": "a"}})), "/linux/netDevices/eth1"),
    (without("ipc", ("/linux/sysctl", {"kernel.shmmax": "1"})), "/linux/sysctl/kernel.shmmax"),
    (without("ipc", ("/linux/sysctl", {"fs.mqueue.msg_max": "1"})), "/linux/sysctl/fs.mqueue.msg_max"),
    (without("network", ("/linux/sysctl", {"net/ipv4/ip_forward": "1"})), "/linux/sysctl/net~1ipv4~1ip_forward"),
    (without("user", ("/linux/sysctl", {"user.max_user_namespaces": "1"})), "/linux/sysctl/user.max_user_namespaces"),
    (without("uts", ("/linux/sysctl", {"kernel.domainname": "x"})), "/linux/sysctl/kernel.domainname"),
    (config(("/linux/sysctl", {"kernel.hostname": "x"})), "/linux/sysctl/kernel.hostname"),
    (config(("/linux/sysctl", {"kernel.panic": "1"})), "/linux/sysctl/kernel.panic"),
    (config(("/linux/sysctl", {"net.//.kernel.panic": "1"})), "/linux/sysctl/net.~1~1.kernel.panic"),
    (config(("/linux/sysctl", {"net/../kernel/panic": "1"})), "/linux/sysctl/net~1..~1kernel~1panic"),
    (config(("/linux/sysctl", {"net..x": "1"})), "/linux/sysctl/net..x"),
    (config(("/linux/sysctl", {"": "1"})), "/linux/sysctl/"),
    (config(seccomp(defaultAction="SCMP_ACT_NOTIFY", listenerPath="/s")), "/linux/seccomp/defaultAction"),
    (config(seccomp(defaultErrnoRet=1)), "/linux/seccomp/defaultErrnoRet"),
    (config(seccomp(defaultAction="SCMP_ACT_ERRNO", defaultErrnoRet=4096)), "/linux/seccomp/defaultErrnoRet"),
    (config(call(errnoRet=4096)), "/linux/seccomp/syscalls/0/errnoRet"),
    (config(call(action="SCMP_ACT_TRACE", errnoRet=65536)), "/linux/seccomp/syscalls/0/errnoRet"),
    (
        config(seccomp(defaultAction="", syscalls=[{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}])),
        "/linux/seccomp/defaultAction",
    ),
    (config(call(action="SCMP_ACT_KILL", errnoRet=1)), "/linux/seccomp/syscalls/0/errnoRet"),
    (config(call(action="SCMP_ACT_KILL", errnoRet=0)), "/linux/seccomp/syscalls/0/errnoRet"),
    (config(seccomp(defaultErrnoRet=0)), "/linux/seccomp/defaultErrnoRet"),
    (config(seccomp(flags=["SECCOMP_FILTER_FLAG_LOG", KILLABLE])), "/linux/seccomp/flags/1"),
    (
        config(seccomp(listenerPath="/s", syscalls=[{"names": ["a", "write"], "action": "SCMP_ACT_NOTIFY"}])),
        "/linux/seccomp/syscalls/0/names",
    ),
    (config(call(names=["a", ""])), "/linux/seccomp/syscalls/0/names/1"),
    (config(call(args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}])), "/linux/seccomp/syscalls/0/args/0/index"),
    (config(call(action="SCMP_ACT_NOTIFY")), "/linux/seccomp/listenerPath"),
    (config(seccomp(listenerPath="s")), "/linux/seccomp/listenerPath"),
    (config(seccomp(listenerMetadata="x")), "/linux/seccomp/listenerMetadata"),
    (without("mount", ("/linux/maskedPaths", ["/proc/kcore"])), "/linux/maskedPaths"),
    (without("mount", ("/linux/readonlyPaths", ["/proc/sys"])), "/linux/readonlyPaths"),
    (config(("/linux/maskedPaths", ["/a", "b"])), "/linux/maskedPaths/1"),
    (config(("/linux/maskedPaths", ["/a", "//a/./.."])), "/linux/maskedPaths/1"),
    (without("mount", ("/linux/rootfsPropagation", "slave")), "/linux/rootfsPropagation"),
    (config(("/linux/readonlyPaths", [""])), "/linux/readonlyPaths/0"),
    (config(("/linux/personality", {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})), "/linux/personality/flags"),
    (config(("/linux/memoryPolicy", {"mode": "MPOL_DEFAULT", "nodes": "0"})), "/linux/memoryPolicy/nodes"),
    (config(("/linux/memoryPolicy", {"mode": "MPOL_LOCAL", "nodes": "0"})), "/linux/memoryPolicy/nodes"),
    (config(("/linux/memoryPolicy", {"mode": "MPOL_BIND"})), "/linux/memoryPolicy/nodes"),
    (config(("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "a"})), "/linux/memoryPolicy/nodes"),
    (
        config(
            (
                "/linux/memoryPolicy",
                {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
            )
        ),
        "/linux/memoryPolicy/flags",
    ),
    (
        config(("/linux/memoryPolicy", {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]})),
        "/linux/memoryPolicy/flags",
    ),
    (config(("/linux/intelRdt", {"closID": "../x"})), "/linux/intelRdt/closID"),
    (config(("/linux/intelRdt", {"closID": ".."})), "/linux/intelRdt/closID"),
    (config(("/linux/intelRdt", {"closID": "mon_groups"})), "/linux/intelRdt/closID"),
    (config(("/linux/sysctl", {"kernel/domainname": "a"}), ("/domainname", "b")), "/linux/sysctl/kernel~1domainname"),
    (config(("/linux/intelRdt", {"l3CacheSchema": "L3:0=f\nMB:0=1"})), "/linux/intelRdt/l3CacheSchema"),
    (config(("/linux/intelRdt", {"schemata": ["L3:0=f", "a\nb"]})), "/linux/intelRdt/schemata/1"),
    (config((RES + "/devices", [{"allow": True, "type": "u"}])), RES + "/devices/0/type"),
    (config((RES + "/devices", [{"allow": True, "access": "rx"}])), RES + "/devices/0/access"),
    (config((RES + "/devices", [{"allow": True, "major": -2}])), RES + "/devices/0/major"),
    (config((RES + "/devices", [{"allow": True, "minor": 2**32}])), RES + "/devices/0/minor"),
    (config((RES + "/memory", {"limit": -2})), RES + "/memory/limit"),
    (config((RES + "/memory", {"limit": 2, "swap": 1})), RES + "/memory/swap"),
    (config((RES + "/memory", {"swappiness": 101})), RES + "/memory/swappiness"),
    (config((RES + "/cpu", {"quota": 1, "burst": 2})), RES + "/cpu/burst"),
    (config((RES + "/cpu", {"idle": 2})), RES + "/cpu/idle"),
    (config((RES + "/cpu", {"cpus": "0,,1"})), RES + "/cpu/cpus"),
    (config((RES + "/cpu", {"mems": "1-0"})), RES + "/cpu/mems"),
    (config((RES + "/blockIO", {"weight": 1001})), RES + "/blockIO/weight"),
    (config((RES + "/blockIO", {"leafWeight": 1001})), RES + "/blockIO/leafWeight"),
    (config((RES + "/blockIO", {"weightDevice": [{"major": 8, "minor": 0}]})), RES + "/blockIO/weightDevice/0"),
    (
        config((RES + "/blockIO", {"weightDevice": [{"major": 8, "minor": 0, "weight": 1001}]})),
        RES + "/blockIO/weightDevice/0/weight",
    ),
    (config((RES + "/network", {"priorities": [{"name": "", "priority": 1}]})), RES + "/network/priorities/0/name"),
    (config((RES + "/rdma", {"mlx5_1": {}})), RES + "/rdma/mlx5_1"),
    (config((RES + "/rdma", {"a b": {"hcaHandles": 1}})), RES + "/rdma/a b"),
    (config((RES + "/unified", {"../cgroup.procs": "1"})), RES + "/unified/..~1cgroup.procs"),
    (config((RES + "/unified", {"memory": "1"})), RES + "/unified/memory"),
    (config((RES + "/unified", {"..": "1"})), RES + "/unified/.."),
    (config(("/process/args", ["a\0b"])), "/process/args/0"),
    (config(("/annotations", {"a\0": "x"})), "/annotations/a\0"),
]

HOLDING: list[Any] = [
    config(("/ociVersion", "1.0.2-dev")),
    config(("/ociVersion", "0.5.0-dev")),
    config(("/ociVersion", "1.1.0-rc.2+dirty")),
    config(("/ociVersion", "1.99.0")),
    config(("/process", None)),
    config(("/process/env", ["A=", "B==", "C= x"])),
    without("user", ("/process/user", {"uid": 2**32 - 2, "umask": 0o777})),
    config(("/process/oomScoreAdj", -1000)),
    config(("/process/oomScoreAdj", 1000)),
    config(("/process/rlimits", [{"type": name, "soft": 1, "hard": 1} for name in RLIMITS])),
    config((SC, {"policy": "SCHED_OTHER", "nice": -20, "priority": 0, "runtime": 0})),
    config((SC, {"policy": "SCHED_FIFO", "priority": 99})),
    config((SC, {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2})),
    config((SC, {"policy": "SCHED_DEADLINE", "runtime": 2, "deadline": 2, "period": 2})),
    config(("/process/ioPriority", {"class": "IOPRIO_CLASS_IDLE"})),
    config(("/process/execCPUAffinity", {"initial": "0-3, 7", "final": ""})),
    config(("/hostname", "x" * 64)),
    without("uts", ("/hostname", "")),
    put(without("user"), "/linux/uidMappings", MAP),
    put(without("user"), "/linux/gidMappings", MAP),
    config(("/linux/namespaces/4/path", "/proc/1/ns/uts"), ("/hostname", "web")),
    config(mount(destination="relative")),
    config(mount("idmap")),
    config(mount("idmap=uids=@5-9-1")),
    without("user", mount("idmap", uidMappings=MAP, gidMappings=MAP)),
    config(mount(type="overlay", destination="/", options=["lowerdir=/a"])),
    config(mount(destination="/proc/uptime")),
    config(mount(type="cgroup", destination="/proc", options=[])),
    config(mount("remount", source="")),
    config(mount(), ("/annotations/run.oci.mount_context_type", "without a label it has no meaning")),
    config(("/hooks/startContainer", [{"path": "/bin/x"}])),
    config(("/annotations", {"a": ""})),
    config(("/linux/namespaces/0/path", "")),
    config(("/linux/namespaces/5/path", "/proc/1/ns/user"), ("/linux/uidMappings", None), ("/linux/gidMappings", None)),
    config(("/linux/uidMappings", [{"containerID": 0, "hostID": 0, "size": 2**32 - 1}])),
    config(("/linux/uidMappings", [{"containerID": 10, "hostID": 0, "size": 1}, *MAP])),
    config(("/linux/uidMappings", [*MAP, {"containerID": 10, "hostID": 1010, "size": 1}])),
    config(("/linux/gidMappings", ids((0, 2**32 - 2, 1)))),
    config(("/linux/timeOffsets", {"boottime": {"secs": -1, "nanosecs": 999_999_999}, "monotonic": None})),
    without("time", ("/linux/timeOffsets", {})),
    config(("/linux/devices", [{"type": "p", "path": "/fifo"}])),
    config(("/linux/netDevices", {"eth0": {"name": "eth%d"}, "eth1": {"name": "eth%d"}, "eth2": None})),
    config(("/linux/sysctl", {"net.ipv4.conf.eth0/1.forwarding": "1", "net/ipv4/conf/eth0.1/forwarding": "1"})),
    config(("/linux/sysctl", {"kernel.shmmax": "1", "fs.mqueue.msg_max": "1", "kernel.domainname": "x"})),
    config(seccomp(defaultAction="SCMP_ACT_ERRNO", defaultErrnoRet=4095)),
    config(seccomp(defaultAction="", architectures=None)),
    config(seccomp(defaultAction="", syscalls=[])),
    config(call(action="SCMP_ACT_TRACE", errnoRet=65535)),
    config(call(action="SCMP_ACT_NOTIFY"), ("/linux/seccomp/listenerPath", "/s"), ("/linux/seccomp/flags", [KILLABLE])),
    config(("/hooks/poststart", [{"path": "/a", "args": ["a", ""], "env": ["A="]}])),
    config(("/linux/maskedPaths", ["/a/..b", "/..."]), ("/linux/readonlyPaths", ["/"])),
    config(("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0-8191", "flags": ["MPOL_F_NUMA_BALANCING"]})),
    without("mount", ("/linux/rootfsPropagation", "")),
    config(call(action="SCMP_ACT_NOTIFY"), ("/linux/seccomp/listenerPath", "/run/agent.sock")),
    config(call(args=[{"index": 5, "value": 0, "op": "SCMP_CMP_EQ"}])),
    without("mount", ("/linux/maskedPaths", []), ("/linux/readonlyPaths", None)),
    config(("/linux/personality", {"domain": "LINUX32", "flags": []})),
    config(("/linux/memoryPolicy", {"mode": "MPOL_PREFERRED"})),
    config(("/linux/memoryPolicy", {"mode": "MPOL_INTERLEAVE", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]})),
    config(("/linux/intelRdt", {"closID": "/"})),
    config(("/linux/sysctl", {"kernel.domainname": "a"}), ("/domainname", "a")),
    config((RES + "/devices", [{"allow": False, "type": "", "access": "", "major": -1}])),
    config((RES + "/memory", {"limit": 5, "swap": -1, "swappiness": 100, "reservation": 0})),
    config((RES + "/memory", {"limit": 5, "swap": 0})),
    config((RES + "/cpu", {"quota": -1, "burst": 5, "idle": 1, "cpus": "", "mems": "0"})),
    config((RES + "/blockIO", {"weight": 0, "leafWeight": 1000})),
    config((RES + "/rdma", {"mlx5_1": {"hcaObjects": 0}})),
    config((RES + "/unified", {"memory.high": "1", "hugetlb.1GB.max": "1"})),
]

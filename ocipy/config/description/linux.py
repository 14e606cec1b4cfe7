"""The linux section of config.json, except its resources and its system call filter (config-linux.md)."""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.markers import In, Since
from ocipy.config.description.resources import Resources
from ocipy.config.description.seccomp import Seccomp
from ocipy.config.description.shared import IDMapping
from ocipy.config.description.values import (
    BandwidthSchema,
    DeviceType,
    Int64,
    MemoryPolicyFlag,
    MemoryPolicyMode,
    NamespaceType,
    PersonalityDomain,
    RootfsPropagation,
    Uint32,
)


class Namespace(TypedDict, total=False):
    """A namespace that the container does not share with the runtime: namespaces(7)."""

    type: Required[Annotated[NamespaceType, In("plan/fields")]]
    """The kind of namespace."""
    path: str
    """The absolute path of an existing namespace to join; if absent or empty, a new one is made."""


class TimeOffset(TypedDict, total=False):
    """The offset of a clock."""

    secs: Int64
    """Seconds; negative ones set the clock back."""
    nanosecs: Uint32
    """Nanoseconds to add, less than 1000000000."""


class Device(TypedDict, total=False):
    """A device node, or a FIFO, in the container."""

    type: Required[Annotated[DeviceType, In("plan/devices")]]
    """The kind of node: c or u is a character device, b a block device, p a FIFO; mknod(1)."""
    path: Required[str]
    """Its absolute path in the container."""
    major: Int64
    """The major number; required except for a FIFO."""
    minor: Int64
    """The minor number; required except for a FIFO."""
    fileMode: Annotated[Uint32, In("plan/devices")]
    """Its permission bits, as a decimal number: 438 is 0666. It may include the file type."""
    uid: Uint32
    """Its owner, an id in the container; 0 if absent."""
    gid: Uint32
    """Its group, an id in the container; 0 if absent."""


class NetDevice(TypedDict, total=False):
    """A network device of the host that moves into the container."""

    name: str
    """Its name in the container; by default its name on the host. The kernel replaces %d with the first free number."""


class IntelRdt(TypedDict, total=False):
    """The container's shares of cache and memory bandwidth: resctrl."""

    closID: Annotated[str, Since("1.0.2")]
    """The class of service: a directory of resctrl, or / for the default class; if absent, the container's id."""
    schemata: Annotated[list[str], Since("1.3")]
    """Lines for the class's file schemata, written after the two members below."""
    l3CacheSchema: str
    """The line of the L3 cache, such as L3:0=7f0;1=1f."""
    memBwSchema: Annotated[BandwidthSchema, Since("1.0.2")]
    """The line of the memory bandwidth, such as MB:0=20;1=70."""
    enableMonitoring: Annotated[bool, Since("1.3")]
    """Measure the container's use of cache and bandwidth in a separate monitoring group."""


class MemoryPolicy(TypedDict, total=False):
    """The NUMA nodes that memory comes from: set_mempolicy(2)."""

    mode: Required[MemoryPolicyMode]
    """How nodes are chosen."""
    nodes: str
    """The nodes, such as 0-1; set_mempolicy(2) says which modes need or forbid them."""
    flags: list[MemoryPolicyFlag]
    """Flags of the mode."""


class Personality(TypedDict, total=False):
    """The execution domain: personality(2)."""

    domain: Required[PersonalityDomain]
    """LINUX, or LINUX32, with which uname(2) reports a 32-bit machine."""
    flags: list[str]
    """Must be empty: the specification defines no flags yet."""


class Linux(TypedDict, total=False):
    """Settings for Linux."""

    namespaces: Annotated[list[Namespace], In("namespaces stage", below="namespaces")]
    """Namespaces that the container does not share with the runtime, each type once."""
    uidMappings: Annotated[list[IDMapping], In("plan/namespaces host/namespaces", below="plan/namespaces")]
    """The user ids of a new user namespace."""
    gidMappings: Annotated[list[IDMapping], In("plan/namespaces host/namespaces", below="plan/namespaces")]
    """The group ids of a new user namespace."""
    timeOffsets: Annotated[
        dict[str, TimeOffset], Since("1.1"), In("namespace_contents plan/namespaces", below="plan/namespace_contents")
    ]
    """Offsets of the clocks monotonic and boottime in a new time namespace: time_namespaces(7)."""
    devices: Annotated[list[Device], In("plan/devices host/devices init/devices")]
    """Device nodes in addition to the default ones, such as /dev/null."""
    netDevices: Annotated[dict[str, NetDevice], Since("1.3"), In("namespace_contents network_devices")]
    """Network devices that move into the container's network namespace, by their names on the host."""
    cgroupsPath: Annotated[str, In("plan/cgroup plan/systemd host/cgroup host/systemd")]
    """The container's cgroup: a path below the mount point, or slice:prefix:name with --systemd-cgroup."""
    resources: Annotated[
        Resources,
        In(
            "plan/cgroup host/cgroup cgroups/resources cgroups/v1_files cgroups/v2_files systemd/properties",
            below="cgroups/v1_files cgroups/v2_files",
        ),
    ]
    """Limits of the container's cgroup."""
    intelRdt: Annotated[IntelRdt, In("intel_rdt", below="plan/intel_rdt")]
    """The container's shares of cache and memory bandwidth."""
    memoryPolicy: Annotated[MemoryPolicy, Since("1.3"), In("scheduling")]
    """The NUMA nodes that memory comes from."""
    sysctl: Annotated[dict[str, str], In("sysctl")]
    """Kernel parameters of the container's namespaces, under names such as net.ipv4.ip_forward."""
    seccomp: Annotated[Seccomp, In("seccomp seccomp_compile")]
    """The system call filter."""
    rootfsPropagation: Annotated[RootfsPropagation, In("rootfs")]
    """How mounts propagate between the host and the root mount: mount_namespaces(7)."""
    maskedPaths: Annotated[list[str], In("masks")]
    """Absolute paths to cover, so that they cannot be read."""
    readonlyPaths: Annotated[list[str], In("masks")]
    """Absolute paths to make read-only."""
    mountLabel: Annotated[str, In("plan/mounts plan/cgroup_mount")]
    """The SELinux context of the container's mounts."""
    personality: Annotated[Personality, Since("1.0.2"), In("scheduling")]
    """The execution domain."""

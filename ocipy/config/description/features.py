"""What `ocipy features` prints (features.md, features-linux.md)."""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.markers import Since
from ocipy.config.description.values import (
    CapabilityName,
    MemoryPolicyFlag,
    MemoryPolicyMode,
    NamespaceType,
    SeccompAction,
    SeccompArchitecture,
    SeccompFlag,
    SeccompOperator,
)


class CgroupFeatures(TypedDict, total=False):
    """Which kinds of cgroups the runtime handles."""

    v1: bool
    """Cgroups of version 1."""
    v2: bool
    """Cgroups of version 2."""
    systemd: bool
    """Cgroups that the system's systemd makes."""
    systemdUser: bool
    """Cgroups that a user's systemd makes."""
    rdma: bool
    """The rdma controller."""


class SeccompFeatures(TypedDict, total=False):
    """What the runtime knows of seccomp."""

    enabled: bool
    """Whether it makes filters."""
    actions: list[SeccompAction]
    """Actions it knows."""
    operators: list[SeccompOperator]
    """Operators it knows."""
    archs: list[SeccompArchitecture]
    """Architectures it knows."""
    knownFlags: list[SeccompFlag]
    """Flags it knows."""
    supportedFlags: list[SeccompFlag]
    """Flags it knows and this build can set."""


class Enabled(TypedDict, total=False):
    """Whether the runtime has a feature."""

    enabled: bool
    """Whether it has it."""


class IntelRdtFeatures(TypedDict, total=False):
    """What the runtime knows of Intel RDT."""

    enabled: bool
    """Whether it handles linux.intelRdt."""
    schemata: Annotated[bool, Since("1.3")]
    """Whether it handles linux.intelRdt.schemata."""
    monitoring: Annotated[bool, Since("1.3")]
    """Whether it handles linux.intelRdt.enableMonitoring."""


class MountExtensions(TypedDict, total=False):
    """Kinds of mounts beyond the usual ones."""

    idmap: Enabled
    """Idmapped mounts."""


class MemoryPolicyFeatures(TypedDict, total=False):
    """What the runtime knows of NUMA policies."""

    modes: list[MemoryPolicyMode]
    """Modes it knows."""
    flags: list[MemoryPolicyFlag]
    """Flags it knows."""


class LinuxFeatures(TypedDict, total=False):
    """What the runtime knows of the section linux of config.json."""

    namespaces: list[NamespaceType]
    """Kinds of namespaces it knows."""
    capabilities: list[CapabilityName]
    """Capabilities it knows."""
    cgroup: CgroupFeatures
    """Which kinds of cgroups it handles."""
    seccomp: SeccompFeatures
    """What it knows of seccomp."""
    apparmor: Enabled
    """AppArmor."""
    selinux: Enabled
    """SELinux."""
    intelRdt: IntelRdtFeatures
    """What it knows of Intel RDT."""
    mountExtensions: Annotated[MountExtensions, Since("1.2")]
    """Kinds of mounts beyond the usual ones."""
    netDevices: Annotated[Enabled, Since("1.3")]
    """Network devices that move into the container."""
    memoryPolicy: Annotated[MemoryPolicyFeatures, Since("1.3")]
    """What it knows of NUMA policies."""


class Features(TypedDict, total=False):
    """What a runtime supports."""

    ociVersionMin: Required[str]
    """The oldest version of the specification that it takes."""
    ociVersionMax: Required[str]
    """The newest version of the specification that it takes."""
    hooks: list[str]
    """Kinds of hooks it knows."""
    mountOptions: list[str]
    """Mount options it knows itself, apart from those that filesystems understand."""
    annotations: dict[str, str]
    """Anything else that the runtime tells of itself."""
    potentiallyUnsafeConfigAnnotations: Annotated[list[str], Since("1.2")]
    """Annotations of config.json that change what the runtime does; one that ends in a dot is a prefix."""
    linux: LinuxFeatures
    """What it knows of the section linux of config.json."""
